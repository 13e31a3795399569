//! The real server is killed at whatever moment, again and again, while it is asked for everything at once. What it had
//! answered is so afterwards, what was asked for under a key has happened once, and nothing is left behind.
//!
//! A short run belongs to the suite; `LAP_KILLER_ROUNDS=1000` makes it a long one, `LAP_KILLER_SEED` repeats one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::startup::{Running, http, started};
use crate::support::{AGENTS, Home, KEY, PATIENCE, SESSIONS};

/// Rounds where nobody asks for more.
const ROUNDS: usize = 12;
/// Requests of a round.
const AT_ONCE: usize = 6;
/// The longest a server lives once it is asked, in microseconds: from nothing done to everything.
const LIFE_US: u64 = 80_000;
/// Sessions that are kept alive from round to round.
const KEPT: usize = 4;

/// Pseudo-random numbers (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let n = u64::try_from(of.len()).unwrap();
        (n > 0).then(|| &of[usize::try_from(self.below(n)).unwrap()])
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
enum Ask {
    Create,
    Exec(String),
    Stop(String),
    Delete(String),
    Restart(String),
    Rename(String),
}

/// A request under its key, and the answer, if one came.
#[derive(Debug)]
struct Asked {
    ask: Ask,
    key: Uuid,
    answer: Option<(StatusCode, Value)>,
}

struct Killer {
    home: Home,
    port: String,
    agent: String,
    dice: Dice,
    /// Every session there is to be, and whether it has certainly ended.
    sessions: BTreeMap<String, bool>,
    kills: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_killed_server_was_at_is_done_once_and_nothing_is_left_behind() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("LAP_KILLER_ROUNDS").map_or(ROUNDS, |rounds| usize::try_from(rounds).unwrap());
    let seed = number("LAP_KILLER_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("LAP_KILLER_SEED={seed}");
    let home = Home::new();
    let running = started(&home, &[]).await;
    let port = running.url.rsplit(':').next().unwrap().to_owned();
    let agent = json!({ "name": "killed", "model": "m", "harness_id": "shell" });
    let (_, agent) = ask(&running.url, Method::POST, AGENTS, Uuid::new_v4(), agent).await.unwrap();
    let agent = agent["id"].as_str().unwrap().to_owned();
    let (sessions, dice) = (BTreeMap::new(), Dice(seed));
    let mut killer = Killer { home, port, agent, dice, sessions, kills: 0 };
    let began = Instant::now();
    let mut running = running;
    for round in 0..rounds {
        running = killer.round(running).await;
        if round % 50 == 49 {
            println!("round {}: {} sessions, {:?}", round + 1, killer.sessions.len(), began.elapsed());
        }
    }
    killer.ends(running).await;
    println!("{} kills, {} sessions, {:?}", killer.kills, killer.sessions.len(), began.elapsed());
}

/// One request; `None`: the server went before it answered.
async fn ask(url: &str, method: Method, path: &str, key: Uuid, body: Value) -> Option<(StatusCode, Value)> {
    let request = http().request(method, format!("{url}{path}")).bearer_auth(KEY);
    let request = request.header("Idempotency-Key", key.to_string());
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.ok()?;
    let status = answer.status();
    let text = answer.text().await.ok()?;
    Some((status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }))
}

impl Ask {
    async fn of(&self, url: &str, agent: &str, key: Uuid) -> Option<(StatusCode, Value)> {
        let at = |id: &str, what: &str| format!("{SESSIONS}/{id}{what}");
        let (method, path, body) = match self {
            Ask::Create => (Method::POST, format!("{AGENTS}/{agent}/session"), json!({})),
            Ask::Exec(id) => {
                // Long enough to be killed in the middle of it, and one write, which happens or does not.
                let command = ["sh", "-c", &format!("sleep 0.0{}; echo {key} >>log", key.as_u128() % 8)];
                (Method::POST, at(id, "/exec"), json!({ "command": command }))
            }
            Ask::Stop(id) => (Method::POST, at(id, "/stop"), Value::Null),
            Ask::Delete(id) => (Method::DELETE, at(id, ""), Value::Null),
            Ask::Restart(id) => (Method::POST, at(id, "/restart"), Value::Null),
            Ask::Rename(id) => (Method::PATCH, at(id, ""), json!({ "title": key })),
        };
        ask(url, method, &path, key, body).await
    }

    fn session(&self) -> Option<&String> {
        match self {
            Ask::Create => None,
            Ask::Exec(id) | Ask::Stop(id) | Ask::Delete(id) | Ask::Restart(id) | Ask::Rename(id) => Some(id),
        }
    }
}

impl Killer {
    fn choose(&mut self) -> Ask {
        let all: Vec<String> = self.sessions.keys().cloned().collect();
        let live: Vec<String> =
            self.sessions.iter().filter(|(_, ended)| !**ended).map(|(id, _)| id.clone()).collect();
        let many = live.len() > KEPT;
        let pick = self.dice.below(100);
        let Some(one) = self.dice.one_of(&live).cloned() else { return Ask::Create };
        match pick {
            0..30 if !many => Ask::Create,
            0..55 => Ask::Exec(one),
            55..65 => Ask::Stop(one),
            65..80 => Ask::Delete(one),
            80..90 => Ask::Restart(self.dice.one_of(&all).cloned().unwrap_or(one)),
            _ => Ask::Rename(one),
        }
    }

    /// Asks for several things, kills the server at some moment, starts it again, and looks.
    async fn round(&mut self, mut running: Running) -> Running {
        let mut asking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (ask, key) = (self.choose(), Uuid::new_v4());
            let (url, agent) = (running.url.clone(), self.agent.clone());
            asking.spawn(async move {
                let answer = ask.of(&url, &agent, key).await;
                Asked { ask, key, answer }
            });
        }
        tokio::time::sleep(Duration::from_micros(self.dice.below(LIFE_US))).await;
        running.child.kill().await.unwrap();
        self.kills += 1;
        let asked = asking.join_all().await;
        let running = started(&self.home, &[("PORT", &self.port)]).await;
        for one in &asked {
            self.ask_again(&running.url, one).await;
        }
        self.settles(&running.url).await;
        for one in &asked {
            self.check(&running.url, one, &asked).await;
        }
        running
    }

    /// What was cut off is asked for again under its key, and then there is an answer.
    async fn ask_again(&mut self, url: &str, asked: &Asked) {
        let again = timeout(PATIENCE, asked.ask.of(url, &self.agent, asked.key)).await.unwrap();
        let (status, body) = again.expect("a server that runs answers");
        let fine = status.is_success() || status == StatusCode::CONFLICT;
        assert!(fine, "{asked:?} → {status}: {body:#}");
        if let (Ask::Create, true) = (&asked.ask, status.is_success()) {
            let id = body["id"].as_str().unwrap().to_owned();
            if let Some((before, made)) = &asked.answer
                && before.is_success()
            {
                assert_eq!(made["id"], body["id"], "one key, one session");
            }
            self.sessions.entry(id).or_insert(false);
        }
    }

    /// Waits until every session is ready or has ended, and takes down which.
    async fn settles(&mut self, url: &str) {
        let settled = async {
            loop {
                let list = self.list(url).await;
                if list.iter().all(|session| session["status"] != "creating") {
                    return list;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let list = timeout(PATIENCE, settled).await.expect("every session comes up or ends");
        let known: Vec<&str> = list.iter().map(|session| session["id"].as_str().unwrap()).collect();
        for id in self.sessions.keys() {
            assert!(known.contains(&id.as_str()), "{id} was made, and is not there");
        }
        for session in &list {
            let id = session["id"].as_str().unwrap();
            assert!(self.sessions.contains_key(id), "nobody asked for {session:#}");
            assert_ne!(session["status"], "failed", "{session:#}");
            if session["status"] == "dead" {
                let death = session["death"].as_str().unwrap();
                assert!(["stopped", "restarted"].contains(&death), "{session:#}");
            }
            self.sessions.insert(id.to_owned(), session["status"] == "dead");
        }
    }

    async fn list(&self, url: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{SESSIONS}?limit=200{cursor}");
            let (_, page) = ask(url, Method::GET, &path, Uuid::new_v4(), Value::Null).await.unwrap();
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    async fn check(&self, url: &str, one: &Asked, all: &[Asked]) {
        let Some(id) = one.ask.session() else { return };
        let path = format!("{SESSIONS}/{id}");
        let (_, session) = ask(url, Method::GET, &path, Uuid::new_v4(), Value::Null).await.unwrap();
        let restarted = all.iter().any(|other| matches!(&other.ask, Ask::Restart(of) if of == id));
        match &one.ask {
            Ask::Exec(_) => {
                let log = self.home.path().join("data/workspaces").join(id).join("log");
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let times = log.lines().filter(|line| *line == one.key.to_string()).count();
                assert!(times <= 1, "{one:?} ran {times} times");
                if let Some((status, result)) = &one.answer
                    && status.is_success()
                    && result["exit_code"] == 0
                {
                    assert_eq!(times, 1, "{one:?} is said to have run");
                }
            }
            Ask::Stop(_) | Ask::Delete(_) if !restarted => assert_eq!(session["status"], "dead", "{one:?}"),
            Ask::Rename(_) => {
                let renamed = |other: &&Asked| matches!(&other.ask, Ask::Rename(of) if of == id);
                let titles: Vec<String> =
                    all.iter().filter(renamed).map(|other| other.key.to_string()).collect();
                assert!(titles.iter().any(|title| session["title"] == title.as_str()), "{session:#}");
            }
            _ => {}
        }
    }

    /// Everything is ended, and then nothing runs, and no sandbox is there.
    async fn ends(&mut self, running: Running) {
        for (id, ended) in &self.sessions {
            if !ended {
                let path = format!("{SESSIONS}/{id}");
                let answer = ask(&running.url, Method::DELETE, &path, Uuid::new_v4(), Value::Null).await;
                assert_eq!(answer.unwrap().0, StatusCode::NO_CONTENT);
            }
        }
        let sandboxes = self.home.path().join("data/sandboxes");
        let empty = async {
            while !(left_in(&sandboxes).is_empty() && self.processes().is_empty()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, empty).await.is_err() {
            panic!("left behind: {:?}, processes {:?}", left_in(&sandboxes), self.processes());
        }
    }

    /// The processes of this installation's sandboxes.
    fn processes(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::MetadataExt as _;
        let about = std::fs::metadata(self.home.path().join("data/sandboxes")).unwrap();
        let mark = format!("LAP_SANDBOX_HOME={}-{}", about.dev(), about.ino()).into_bytes();
        let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let marked = |path: &PathBuf| {
            let environ = std::fs::read(path.join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        entries.filter(marked).collect()
    }
}

fn left_in(folder: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect()
}
