//! What is unsaved in a workspace, counted with the real git, of repositories that mean well and of others.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lap_keeper::Unsaved;

fn git(at: &Path, line: &str) {
    let words = shell_words(line);
    let done = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"])
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false"])
        .args(&words)
        .current_dir(at)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {line}: {}", String::from_utf8_lossy(&done.stderr));
}

fn shell_words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.replace('_', " ")).collect()
}

fn unsaved(workspace: &Path) -> std::io::Result<Unsaved> {
    lap_keeper::unsaved(workspace, Path::new("git"), &[])
}

fn counted(files: u64, commits: u64) -> Unsaved {
    Unsaved { files, commits }
}

/// A remote with one commit, and a workspace with a clone of it.
fn cloned() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let remote = home.path().join("remote");
    fs::create_dir(&remote).unwrap();
    git(&remote, "init -q");
    fs::write(remote.join("a.txt"), "one\n").unwrap();
    fs::write(remote.join(".gitignore"), "target/\n").unwrap();
    git(&remote, "add -A");
    git(&remote, "commit -qm first");
    fs::create_dir(home.path().join("w")).unwrap();
    git(&home.path().join("w"), "clone -q ../remote repo");
    home
}

#[test]
fn a_folder_that_is_not_there_or_empty_holds_nothing() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(unsaved(&home.path().join("none")).unwrap(), counted(0, 0));
    assert_eq!(unsaved(home.path()).unwrap(), counted(0, 0));
}

#[test]
fn files_in_no_repository_count_but_not_what_the_platform_or_pip_put_there() {
    let home = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("notes.md", "mine"),
        ("src/deep/er.rs", "mine"),
        (".lap/attachments/0.png", "theirs"),
        ("venv/pyvenv.cfg", ""),
        ("venv/lib/x.py", ""),
    ] {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("/usr", home.path().join("link")).unwrap();
    assert_eq!(unsaved(home.path()).unwrap(), counted(3, 0), "two files and a link, which is not followed");
    let others = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into());
    let ours: Vec<_> = others.chain(["not-there".into()]).collect();
    let without = lap_keeper::unsaved(home.path(), Path::new("git"), &ours).unwrap();
    assert_eq!(without, counted(0, 0), "what the platform has put there is no work");
}

#[test]
fn a_clone_counts_what_its_remote_has_not() {
    let home = cloned();
    let (w, repo) = (home.path().join("w"), home.path().join("w/repo"));
    assert_eq!(unsaved(&w).unwrap(), counted(0, 0));
    fs::write(repo.join("a.txt"), "two\n").unwrap();
    fs::create_dir_all(repo.join("new/folder")).unwrap();
    fs::write(repo.join("new/b.txt"), "").unwrap();
    fs::write(repo.join("new/folder/line\nbreak"), "").unwrap();
    fs::create_dir(repo.join("target")).unwrap();
    fs::write(repo.join("target/ignored"), "").unwrap();
    assert_eq!(unsaved(&w).unwrap(), counted(3, 0));
    git(&repo, "add -A");
    assert_eq!(unsaved(&w).unwrap(), counted(3, 0), "staged is not saved");
    git(&repo, "commit -qm second");
    assert_eq!(unsaved(&w).unwrap(), counted(0, 1));
    git(&repo, "checkout -q --detach");
    fs::write(repo.join("c.txt"), "").unwrap();
    git(&repo, "add -A");
    git(&repo, "commit -qm third");
    assert_eq!(unsaved(&w).unwrap(), counted(0, 2), "also what no branch has");
    git(&repo, "checkout -q -b other");
    git(&repo, "push -q origin other");
    assert_eq!(unsaved(&w).unwrap(), counted(0, 0));
    fs::remove_file(repo.join("a.txt")).unwrap();
    assert_eq!(unsaved(&w).unwrap(), counted(1, 0));
    git(&repo, "stash -q");
    assert_eq!(unsaved(&w).unwrap().commits, 2, "a stash is two commits");
}

#[test]
fn repositories_without_a_remote_or_a_commit_are_counted_too() {
    let home = tempfile::tempdir().unwrap();
    git(home.path(), "init -q");
    fs::write(home.path().join("a"), "").unwrap();
    assert_eq!(unsaved(home.path()).unwrap(), counted(1, 0));
    git(home.path(), "add -A");
    git(home.path(), "commit -qm only");
    assert_eq!(unsaved(home.path()).unwrap(), counted(0, 1));
}

#[test]
fn other_ways_of_keeping_a_repository_are_read_as_well() {
    let home = cloned();
    let (w, repo) = (home.path().join("w"), home.path().join("w/repo"));
    git(&repo, "worktree add -q ../second -b second");
    fs::write(w.join("second/new"), "").unwrap();
    git(&repo, "pack-refs --all");
    git(&repo, "repack -qad");
    git(&repo, "update-index --split-index");
    assert_eq!(unsaved(&w).unwrap(), counted(1, 0), "a further work tree, packed refs, a split index");
    git(
        &w,
        "clone -q --depth 1 file://PATH shallow"
            .replace("PATH", home.path().join("remote").to_str().unwrap())
            .as_str(),
    );
    assert_eq!(unsaved(&w).unwrap(), counted(1, 0), "a shallow clone");
    git(&w, "init -q --object-format=sha256 new");
    fs::write(w.join("new/a"), "").unwrap();
    git(&w.join("new"), "add -A");
    git(&w.join("new"), "commit -qm one");
    assert_eq!(unsaved(&w).unwrap(), counted(1, 1), "another kind of hash");
}

#[test]
fn repositories_inside_repositories_are_counted_each_once() {
    let home = cloned();
    let (w, repo) = (home.path().join("w"), home.path().join("w/repo"));
    git(&repo, &format!("submodule add -q {} sub", home.path().join("remote").display()));
    git(&repo, "commit -qm sub");
    git(&repo, "clone -q ../../remote inner");
    git(&repo, "push -q origin main:sub");
    assert_eq!(unsaved(&w).unwrap(), counted(0, 0));
    fs::write(repo.join("sub/changed"), "").unwrap();
    fs::write(repo.join("inner/changed"), "").unwrap();
    assert_eq!(unsaved(&w).unwrap(), counted(2, 0));
}

/// Each of these runs a program at a plain `git status`, `git diff` or `git log` in the repository.
#[test]
fn nothing_that_a_workspace_names_is_run() {
    let home = cloned();
    let (w, repo) = (home.path().join("w"), home.path().join("w/repo"));
    let (ran, program) = (home.path().join("ran"), w.join("planted"));
    fs::write(&program, format!("#!/bin/sh\necho \"$0 $*\" >>{}\ncat\n", ran.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    git(&repo, &format!("submodule add -q {} sub", home.path().join("remote").display()));
    git(&repo, "commit -qm sub");
    let p = program.display();
    let planted = format!(
        "[core]\n\tfsmonitor = {p}\n\thooksPath = {w}/hooks\n\tpager = {p}\n\tsshCommand = {p}\n\talternateRefsCommand = {p}\n\
         [diff]\n\texternal = {p}\n[diff \"x\"]\n\tcommand = {p}\n\ttextconv = {p}\n\
         [filter \"x\"]\n\tclean = {p}\n\tsmudge = {p}\n\tprocess = {p}\n\trequired = true\n\
         [include]\n\tpath = {w}/more\n[gpg]\n\tprogram = {p}\n[alias]\n\tstatus = !{p}\n\
         [credential]\n\thelper = {p}\n[remote \"origin\"]\n\tpromisor = true\n\tuploadpack = {p}\n",
        w = w.display()
    );
    fs::write(w.join("more"), format!("[core]\n\tfsmonitor = {p}\n")).unwrap();
    for config in
        [repo.join(".git/config"), repo.join(".git/modules/sub/config"), repo.join(".git/config.worktree")]
    {
        let before = fs::read_to_string(&config).unwrap_or_default();
        fs::write(config, before + &planted).unwrap();
    }
    for (folder, hook) in [
        (repo.join(".git/hooks"), "post-index-change"),
        (w.join("hooks"), "post-index-change"),
        (repo.join(".git/modules/sub/hooks"), "fsmonitor-watchman"),
    ] {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&program, folder.join(hook)).unwrap();
    }
    fs::write(repo.join(".gitattributes"), "* filter=x diff=x merge=x\n").unwrap();
    fs::write(repo.join("a.txt"), "changed\n").unwrap();
    fs::write(repo.join("sub/a.txt"), "changed\n").unwrap();
    // So that git must read the contents.
    fs::File::open(repo.join(".gitignore")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let before = fs::read(repo.join(".git/index")).unwrap();
    // The program, the included file, the hook beside the repository; three changes; the unpushed commit.
    assert_eq!(unsaved(&w).unwrap(), counted(6, 1));
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap());
    assert_eq!(fs::read(repo.join(".git/index")).unwrap(), before, "nothing is written");
    // It would have run: the trap is set.
    let plain = Command::new("git").arg("status").current_dir(&repo).output().unwrap();
    assert!(ran.exists(), "{plain:?}");
}

#[test]
fn what_lies_outside_of_the_workspace_is_not_read() {
    let home = cloned();
    let w = home.path().join("w");
    let other = w.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join(".git"), format!("gitdir: {}/remote/.git\n", home.path().display())).unwrap();
    assert_eq!(unsaved(&w).unwrap(), counted(1, 0), "it is a folder with one file");
    fs::remove_file(other.join(".git")).unwrap();
    std::os::unix::fs::symlink(home.path().join("remote/.git"), other.join(".git")).unwrap();
    assert_eq!(unsaved(&w).unwrap(), counted(1, 0));
}

#[test]
fn what_cannot_be_counted_is_said() {
    let home = cloned();
    let none = lap_keeper::unsaved(home.path(), Path::new("/no/git"), &[]).unwrap_err().to_string();
    assert!(none.ends_with("git is not installed"), "{none}");
    let repo = home.path().join("w/repo");
    fs::write(repo.join(".git/index"), "broken").unwrap();
    let error = unsaved(home.path()).unwrap_err().to_string();
    assert!(error.starts_with("what is unsaved cannot be counted: "), "{error}");
    assert!(fs::read_dir(std::env::temp_dir()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        !name.to_string_lossy().starts_with(&format!("lap-count-{}-", std::process::id()))
    }));
}
