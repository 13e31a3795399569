//! Help by name, and the command that was meant where one was mistyped.

use clap::Command;
use clap::builder::StyledStr;

use super::fault::Fault;

/// Letters that may differ for one word to be taken for another: one slip, or two that changed places; and not more
/// than a third of them, or `shell` would be taken for `help`.
const SLIPS: usize = 2;
/// A shorter word is like too many others.
const SHORTEST: usize = 4;

/// The help of a command: none of the words is that of the whole program.
pub(super) fn help(mut command: Command, words: &[String]) -> Result<StyledStr, Fault> {
    command.build();
    for word in words {
        let Some(inner) = command.find_subcommand(word) else {
            let name = command.get_bin_name().unwrap_or("lap");
            return Err(Fault::usage(format!("{name} has no command {word}"))
                .hint(format!("`{name} --help` shows them")));
        };
        command = inner.clone();
    }
    Ok(command.render_long_help())
}

/// The command a word that names nothing may have been meant for.
pub(super) fn meant(command: &Command, word: &str) -> Option<String> {
    if word.chars().count() < SHORTEST {
        return None;
    }
    let names = command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(Command::get_name);
    let (far, name) = names.map(|name| (distance(name, word), name)).min()?;
    (far <= SLIPS.min(name.len().max(word.len()) / 3)).then(|| name.to_owned())
}

/// The command that the first word of a line may have been meant for, where it names none and more words follow: `lap
/// sesions ls` is refused for its second word.
pub(super) fn meant_line(command: &Command, words: impl Iterator<Item = String>) -> Option<String> {
    let mut words = words.filter(|word| !word.starts_with('-'));
    let (first, _second) = (words.next()?, words.next()?);
    if is_command(command, &first) { None } else { meant(command, &first) }
}

/// Whether a word is a command's name.
pub(super) fn is_command(command: &Command, word: &str) -> bool {
    command.find_subcommand(word).is_some()
}

/// Letters to put in, take out or change to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, of_a) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, (of_b, pair)) in b.iter().zip(row.windows(2)).enumerate() {
            let change = pair[0] + usize::from(of_a != *of_b);
            next.push(change.min(pair[1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_is_known_and_an_agents_name_is_not_taken_for_one() {
        let command = Command::new("lap").subcommands([
            Command::new("sessions"),
            Command::new("agents"),
            Command::new("doctor"),
        ]);
        let meant = |word| meant(&command, word);
        assert_eq!(meant("seesions").as_deref(), Some("sessions"));
        assert_eq!(meant("dcotor").as_deref(), Some("doctor"));
        assert_eq!(meant("agnt").as_deref(), Some("agents"));
        assert_eq!(meant("reviewer"), None);
        assert_eq!(meant("ag"), None);
    }

    #[test]
    fn the_first_word_of_a_line_is_what_was_mistyped() {
        let command = Command::new("lap").subcommands([Command::new("sessions").alias("session")]);
        let meant = |line: &str| meant_line(&command, line.split(' ').map(str::to_owned));
        assert_eq!(meant("sesions ls").as_deref(), Some("sessions"));
        assert_eq!(meant("--no-color sesions ls").as_deref(), Some("sessions"));
        for line in ["sessions lss", "session lss", "sesions", "reviewer --new", "--nwe"] {
            assert_eq!(meant(line), None, "{line}");
        }
    }

    #[test]
    fn a_distance_counts_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
