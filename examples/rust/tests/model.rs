//! Tests of the crate with the demo model of the checkout.
use gemma::*;

fn model() -> Model {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/gemma-demo.Q4_K_M.gguf"
    );
    Model::load(path).expect("the demo model")
}

fn session(model: &Model) -> Session {
    Session::new(
        model,
        SessionOptions {
            n_ctx: 256,
            n_threads: 1,
            ..Default::default()
        },
    )
    .unwrap()
}

fn question(model: &Model) -> Vec<i32> {
    let mut chat = Conversation::new(model).unwrap();
    chat.add("user", "Where is the lighthouse?", &[]).unwrap();
    chat.encode().unwrap()
}

#[test]
fn text_goes_there_and_back() {
    let model = model();
    let ids = model.encode("A sentence, with é.", false).unwrap();
    assert_eq!(model.decode(&ids).unwrap(), "A sentence, with é.");
    assert_eq!(
        model.encode("x", true).unwrap()[0],
        model.info().bos.unwrap()
    );
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn logits_are_the_engines_memory() {
    let model = model();
    let mut session = session(&model);
    assert_eq!(session.logits().unwrap_err().code, 11);
    session.set_tokens(&question(&model)).unwrap();
    let logits = session.logits().unwrap();
    assert_eq!(logits.len(), model.info().vocab_size);
    let (address, top) = (
        logits.as_ptr(),
        logits.iter().cloned().fold(f32::MIN, f32::max),
    );
    let sum: f64 = logits
        .iter()
        .map(|&x| (f64::from(x) - f64::from(top)).exp())
        .sum();
    let want = f64::from(logits[5]) - f64::from(top) - sum.ln();
    assert_eq!(session.logits().unwrap().as_ptr(), address);
    assert!((session.score(&[5, 6]).unwrap()[0] - want).abs() < 1e-9);
}

#[test]
fn streams_and_calls_say_the_same() {
    let model = model();
    let mut session = session(&model);
    let sampling = Sampling {
        temperature: 0.9,
        seed: 7,
        ..Default::default()
    };
    let options = GenerateOptions {
        max_tokens: 12,
        sampling,
        log_probabilities: true,
        ..Default::default()
    };
    let ids = question(&model);
    session.set_tokens(&ids).unwrap();
    let whole = session.generate(&options).unwrap();
    assert!(session.set_tokens(&ids).unwrap() >= ids.len() - 1);
    let mut stream = session.stream(&options).unwrap();
    assert_eq!(stream.reason(), None);
    let tokens: Vec<Token> = stream.by_ref().map(|t| t.unwrap()).collect();
    assert!(stream.reason().is_some());
    assert!(stream.next().is_none());
    drop(stream);
    assert_eq!(
        tokens.iter().map(|t| t.text.as_str()).collect::<String>(),
        whole
    );
    assert!(tokens.iter().any(|t| t.log_probability < 0.0));
    let bad = GenerateOptions {
        sampling: Sampling {
            top_p: 7.0,
            ..Default::default()
        },
        ..Default::default()
    };
    assert_eq!(session.generate(&bad).unwrap_err().code, 11);
    assert!(session
        .generate(&GenerateOptions {
            stop: &["a\0"],
            ..Default::default()
        })
        .is_err());
}

#[test]
fn guesses_change_no_answer() {
    let model = model();
    let said = "the lamp is lit. ".repeat(12);
    let grammar = Grammar::gbnf(&model, &format!("root ::= \"{said}\"")).unwrap();
    let ids = model.encode(&said, true).unwrap();
    let ask = |draft, grammar| {
        let how = SessionOptions {
            n_ctx: 512,
            n_threads: 1,
            draft,
            ..Default::default()
        };
        let options = GenerateOptions {
            max_tokens: 60,
            grammar,
            ..Default::default()
        };
        let mut session = Session::new(&model, how).unwrap();
        session.set_tokens(&ids).unwrap();
        let mut stream = session.stream(&options).unwrap();
        let tokens: Vec<Token> = stream.by_ref().map(|t| t.unwrap()).collect();
        (tokens, stream.counts())
    };
    for what in [None, Some(&grammar)] {
        let (plain, without) = ask(Draft::Off, what);
        assert_eq!(without.n_drafted, 0);
        for draft in [Draft::Lookup, Draft::Model(&model)] {
            let (tokens, counts) = ask(draft, what);
            assert_eq!(tokens, plain);
            assert!(counts.n_accepted <= counts.n_drafted);
            if let (Some(_), Draft::Lookup) = (what, draft) {
                assert!(counts.n_accepted > 0 && counts.n_steps < without.n_steps);
            }
        }
    }
}

#[test]
fn conversations_keep_the_ids_of_answers() {
    let model = model();
    let mut session = session(&model);
    let mut chat = Conversation::new(&model).unwrap();
    let options = GenerateOptions {
        max_tokens: 9,
        ..Default::default()
    };
    let mut heard = String::new();
    let said = chat
        .ask(&mut session, "Where is the lighthouse?", &options, |t| {
            heard.push_str(t)
        })
        .unwrap();
    assert_eq!(heard, said);
    let there = session.n_past();
    chat.add("user", "Who keeps it?", &[]).unwrap();
    assert!(session.set_tokens(&chat.encode().unwrap()).unwrap() >= there - 1);
    assert!(chat
        .ask(&mut session, &"word ".repeat(300), &options, |_| ())
        .is_err());
    assert_eq!(chat.n_messages(), 3);
}

#[test]
fn grammars() {
    let model = model();
    let mut session = session(&model);
    session.set_tokens(&question(&model)).unwrap();
    let grammar = Grammar::gbnf(&model, r#"root ::= "yes" | "no""#).unwrap();
    let said = session
        .generate(&GenerateOptions {
            grammar: Some(&grammar),
            ..Default::default()
        })
        .unwrap();
    assert!(grammar.matches(&said).unwrap(), "{said}");
    assert!(!grammar.matches("perhaps").unwrap());
    assert!(Grammar::json_schema(&model, r#"{"type": "integer"}"#)
        .unwrap()
        .matches("3")
        .unwrap());
    assert!(Grammar::gbnf(&model, "root ::= \"a").is_err());
}

#[test]
fn threads_share_a_model_and_a_scheduler() {
    let model = model();
    let ids = question(&model);
    let options = GenerateOptions {
        max_tokens: 10,
        ..Default::default()
    };
    let mut alone = session(&model);
    alone.set_tokens(&ids).unwrap();
    let alone = alone.generate(&options).unwrap();
    let scheduler = Scheduler::new(&model, 2, 256).unwrap();
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| scheduler.submit(&ids, &options).unwrap().text().unwrap()))
            .collect();
        let sessions: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = session(&model);
                    own.set_tokens(&ids).unwrap();
                    own.generate(&options).unwrap()
                })
            })
            .collect();
        for got in answers.into_iter().chain(sessions) {
            assert_eq!(got.join().unwrap(), alone);
        }
    });
    let late = scheduler.submit(&ids, &options).unwrap();
    drop(scheduler);
    drop(late.text());
}

#[test]
fn another_thread_cancels() {
    let model = model();
    let mut session = session(&model);
    session.set_tokens(&question(&model)).unwrap();
    let canceller = session.canceller();
    let mut stream = session
        .stream(&GenerateOptions {
            ignore_end: true,
            ..Default::default()
        })
        .unwrap();
    stream.next().unwrap().unwrap();
    std::thread::spawn(move || canceller.cancel())
        .join()
        .unwrap();
    assert!(stream.by_ref().count() < 200);
    assert_eq!(stream.reason(), Some(StopReason::Cancelled));
    drop(stream);
    assert_eq!(session.append(&[5]).unwrap_err().code, 14);
    session.clear_cancel();
    session.append(&[5]).unwrap();
}

#[test]
fn embeddings_and_errors() {
    let model = model();
    let vectors = model.embed(&["The lighthouse", ""]).unwrap();
    assert_eq!(vectors.len(), 2);
    let length: f32 = vectors[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4);
    let error = Model::load("no/such.gguf").err().unwrap();
    assert_eq!(error.code, 1);
    assert!(error.to_string().contains("no/such.gguf"));
}
