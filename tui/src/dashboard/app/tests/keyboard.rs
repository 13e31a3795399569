//! Keyboards that write other letters, and the key that stops lap.

use super::*;

async fn type_char(world: &mut World, c: char, base: Option<char>) {
    let key = term_input::Key { base, ..term_input::Key::new(KeyCode::Char(c), KeyModifiers::NONE) };
    world.input.send(Input::Event(InputEvent::Key(key))).await.unwrap();
}

#[tokio::test]
async fn keys_of_other_scripts_are_commands_in_the_lists_and_text_where_text_is_typed() {
    // The key of `q` on a Russian and a Greek keyboard, and one that only the terminal can tell of.
    for (letter, base) in [('й', None), (';', Some('q')), ('ฟ', Some('q'))] {
        let left = play(async |world| {
            world.connect(lists()).await;
            world.sees("login page").await;
            world.press("/").await;
            for letter in "й логин".chars() {
                type_char(world, letter, None).await;
            }
            world.sees("й логин").await;
            world.press("esc esc").await;
            world.sees("login page").await;
            type_char(world, letter, base).await;
            if letter.is_ascii() {
                // What is a Latin character is meant as such, wherever it stands.
                world.press("q").await;
            }
            std::future::pending().await
        })
        .await;
        assert!(left.is_some(), "{letter}");
    }
}

#[tokio::test]
async fn a_question_is_not_answered_by_a_key_whose_place_is_guessed() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.press("x").await;
        world.sees("Stop this session?").await;
        world.tells_unsaved().await;
        // Where `y` and `n` stand on a Russian keyboard, and on a phonetic one where `y` writes something else.
        for letter in "нНтТй".chars() {
            type_char(world, letter, None).await;
        }
        world.sees("Stop this session?").await;
        // The terminal knows.
        type_char(world, 'н', Some('y')).await;
        let (_, request) = world.asked_request().await;
        assert!(matches!(request, Request::Stop(_)), "{request:?}");
    })
    .await;
}

#[tokio::test]
async fn ctrl_z_in_the_lists_stops_the_job_on_every_keyboard() {
    for letter in ['z', 'я'] {
        play(async |world| {
            world.connect(lists()).await;
            world.sees("login page").await;
            let key = term_input::Key::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
            world.input.send(Input::Event(InputEvent::Key(key))).await.unwrap();
            while world.commands.recv().await.expect("the app runs") != TerminalCommand::StopJob {}
        })
        .await;
    }
}
