//! What a peer may do inside a call, by SIPp.

use tests::program::Program;
use tests::sipp::run;

/// Plays a scenario ten times and looks whether each call has its record.
fn ten(scenario: &str, records: usize) -> Program {
    let program = Program::bench();
    run(&program, scenario, &["--rate", "20", "--calls", "10"]);
    assert_eq!(program.metric("crosspoint_calls_active"), 0);
    let all = program.json(&["cdr", "--limit", "100"]);
    assert_eq!(all.as_array().expect("records are a list").len(), records, "{all}");
    program
}

/// Whether each record has this cause.
fn causes(program: &Program, cause: &str) -> usize {
    let all = program.json(&["cdr", "--limit", "100"]);
    all.as_array().expect("records are a list").iter().filter(|record| record["cause"] == cause).count()
}

#[test]
fn digits_go_to_the_other_side_by_info() {
    assert_eq!(causes(&ten("uac_info", 10), "normal"), 10);
}

#[test]
fn both_sides_change_their_media_by_update() {
    assert_eq!(causes(&ten("uac_update", 10), "normal"), 10);
}

#[test]
fn who_changes_the_call_at_the_same_time_waits_for_its_turn() {
    assert_eq!(causes(&ten("uac_glare", 10), "normal"), 10);
}

#[test]
fn early_media_of_several_forks_of_a_callee() {
    assert_eq!(causes(&ten("uac_forks", 10), "normal"), 10);
}

#[test]
fn a_transfer_to_somebody_who_is_called() {
    let program = ten("uac_refer", 10);
    assert_eq!(causes(&program, "normal"), 10);
}

#[test]
fn a_transfer_to_somebody_who_talks() {
    let program = ten("uac_attended", 20);
    assert_eq!((causes(&program, "normal"), causes(&program, "transferred")), (10, 10));
}

#[test]
fn a_transfer_to_somebody_who_rings() {
    let program = ten("uac_semi_attended", 20);
    assert_eq!((causes(&program, "normal"), causes(&program, "transferred")), (10, 10));
}

#[test]
fn an_invite_takes_the_place_of_a_dialog() {
    assert_eq!(causes(&ten("uac_replaces", 10), "normal"), 10);
}

#[test]
fn what_the_other_side_does_not_answer_is_never_a_408() {
    assert_eq!(causes(&ten("uac_unheard", 10), "normal"), 10);
}

#[test]
fn why_somebody_refuses_or_hangs_up_is_told_to_the_other_side() {
    assert_eq!(causes(&ten("uac_refused", 10), "busy"), 10);
    assert_eq!(causes(&ten("uac_reason", 10), "normal"), 10);
}

#[test]
fn lines_are_refused_one_by_one_and_codecs_come_later() {
    assert_eq!(causes(&ten("uac_lines", 10), "normal"), 10);
}
