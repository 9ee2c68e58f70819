//! What scripts print, which are refused, and that none does harm.

use proptest::prelude::*;
use rstest::rstest;

use super::{Pattern, quote};
use crate::model::{Device, Model};
use crate::variants::{JsonNumbers, LineEnds, Variants};

fn model() -> (tempfile::TempDir, Model) {
    let pool = tempfile::tempdir().unwrap();
    let variants = Variants {
        line_ends: LineEnds::Lf,
        ..Variants::default()
    };
    let device = Device::with_pool("raid1", "storage-pool", 1 << 40, "test");
    let model = Model::new(variants, device, pool.path());
    (pool, model)
}

fn run(script: &str) -> String {
    model().1.exec(script).text()
}

#[rstest]
#[case(":put hello", "hello\n")]
#[case("put hello; :put [:len \"abc\"]", "hello\n3\n")]
#[case(":put \"a\\\"b\\\\c\\$d\\_e\\41\\0A.\"", "a\"b\\c$d eA\n.\n")]
#[case(
    ":local x 5; :put \"x is $x and $[:len \"ab\"] and $(1 = 1)\"",
    "x is 5 and 2 and true\n"
)]
#[case(":put (\"a\" . \"b\" . 3)", "ab3\n")]
#[case(":if (1 = 1 && !(2 = 3)) do={ :put yes } else={ :put no }", "yes\n")]
#[case(
    ":if ([:len [/disk find slot=\"nothing\"]] = 0) do={ :put none }",
    "none\n"
)]
#[case(":if (2 > 1 || 1 > 2) do={ :put \"more\" }", "more\n")]
#[case(":if (\"abc\" ~ \"^a.c\\$\") do={ :put matches }", "matches\n")]
#[case(
    ":do { :error \"bad\" } on-error={ :put caught }; :put after",
    "caught\nafter\n"
)]
#[case(
    ":onerror e in={ :error \"bad\" } do={ :put \"caught $e\" }",
    "caught bad\n"
)]
#[case(":put first; :error stop; :put never", "first\nstop\n")]
#[case(":put \"two\nlines\"\n# a remark\n:put third", "two\nlines\nthird\n")]
#[case("/system resource get version", "")]
#[case(":put [/system/resource/get version]", "7.24.4 (stable)\n")]
#[case("/disk\n:put [find slot=raid1]", "*1A\n")]
#[case(":put [/disk get [find slot=raid1] state]", "clean\n")]
#[case(":put [/disk get raid1 size]", "1099511627776\n")]
#[case(":put [/disk get nowhere size]", "no such item\n")]
#[case(
    ":put [/disk get raid1 colour]",
    "input does not match any value of value-name\n"
)]
#[case("/disk set [find slot=nothing] comment=x; :put \"OK:1\"", "OK:1\n")]
#[case("/disk set *99 comment=x", "no such item\n")]
#[case(":put [/disk print count-only where type=raid]", "1\n1\n")]
#[case(":if (5) do={ :put x }", "conditional not boolean\n")]
fn a_script_prints_what_the_console_does(#[case] script: &str, #[case] printed: &str) {
    assert_eq!(run(script), printed);
}

#[rstest]
#[case("/disk foo", "bad command name foo (line 1 column 7)")]
#[case("frobnicate", "bad command name frobnicate (line 1 column 1)")]
#[case(
    ":put x; /disk add colour=red",
    "expected end of command (line 1 column 19)"
)]
#[case(
    ":put x\n/disk remove a b",
    "expected end of command (line 2 column 16)"
)]
#[case(":put \"open", "syntax error (line 1 column 6)")]
#[case(":put [/disk find", "syntax error (line 1 column 17)")]
#[case(":do { :put x", "syntax error (line 1 column 13)")]
#[case(":put x y", "expected end of command (line 1 column 8)")]
#[case(":put \"\\q\"", "syntax error (line 1 column 8)")]
fn a_syntax_error_is_found_before_anything_runs(#[case] script: &str, #[case] error: &str) {
    assert_eq!(run(script), format!("{error}\n"));
    let guarded = format!(":do {{ :put ran; {script} }} on-error={{ :put caught }}");
    let printed = run(&guarded);
    assert!(
        !printed.contains("ran") && !printed.contains("caught"),
        "{printed}"
    );
}

#[rstest]
#[case("/disk add type=disk slot=a", "input does not match any value of type")]
#[case(
    "/disk add type=file mount-filesystem=maybe",
    "input does not match any value of mount-filesystem"
)]
#[case(
    "/disk add type=file file-size=1.5G",
    "invalid value for argument file-size"
)]
#[case(
    "/disk add type=file nvme-tcp-server-port=70000",
    "invalid value for argument nvme-tcp-server-port"
)]
#[case(
    "/disk add type=file file-path=/storage-pool/../etc/x",
    "invalid value for argument file-path"
)]
#[case(
    "/disk add type=file file-path=/elsewhere/x.img file-size=1",
    "failure: file system is not mounted"
)]
#[case(
    "/disk add type=file slot=a iscsi-export=yes",
    "failure: iscsi-export is not modelled by rds-sim"
)]
fn a_value_of_the_wrong_type_is_refused_and_can_be_caught(
    #[case] script: &str,
    #[case] error: &str,
) {
    assert_eq!(run(script), format!("{error}\n"));
    let caught = format!(":do {{ {script} }} on-error={{ :put \"ERR:1\" }}");
    assert_eq!(run(&caught), "ERR:1\n");
}

#[test]
fn json_has_numbers_as_the_switch_says() {
    let (_pool, mut model) = model();
    let script = ":put [:serialize to=json [/disk print as-value proplist=slot,size]]";
    let plain = "[{\".id\":\"*1A\",\"slot\":\"raid1\",\"size\":1099511627776}]\n";
    assert_eq!(model.exec(script).text(), plain);
    model.variants_mut().json_numbers = JsonNumbers::Float;
    assert!(
        model
            .exec(script)
            .text()
            .contains("\"size\":1099511627776.000000}")
    );
    let texts = ":put [:serialize to=json \"443\"]";
    assert_eq!(model.exec(texts).text(), "443.000000\n");
    let kept = ":put [:serialize to=json \"443\" options=json.no-string-conversion]";
    assert_eq!(model.exec(kept).text(), "\"443\"\n");
}

#[test]
fn a_budget_stops_a_script_between_statements_and_cannot_be_caught() {
    let (_pool, mut model) = model();
    let script = ":do { :put a; :put b; :put c } on-error={ :put caught }; :put d";
    let output = model.exec_statements(script, Some(2));
    assert!(output.cut);
    assert_eq!(output.text(), "a\nb\n");
}

#[test]
fn patterns_know_anchors_any_and_repetition_and_nothing_else() {
    let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().matches(text);
    assert!(matches("pvc-", "a pvc-1"));
    assert!(!matches("^pvc-", "a pvc-1"));
    assert!(matches("^a.*c$", "abbbc"));
    assert!(!matches("^a.*c$", "abbbcd"));
    assert!(matches("\\.img$", "x.img"));
    assert!(!matches("\\.img$", "ximg"));
    assert!(matches("", "") && matches("^$", "") && !matches("^$", "a"));
    assert!(Pattern::new("a|b").is_none() && Pattern::new("*").is_none());
}

#[test]
fn deep_nesting_is_refused() {
    let script = format!(":put {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(run(&script).starts_with("syntax error"));
    assert!(run(&":do {".repeat(5000)).starts_with("syntax error"));
    assert!(run(&"[".repeat(5000)).starts_with("syntax error"));
    assert!(run(&format!(":put ({}true)", "!".repeat(5000))).starts_with("syntax error"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_input_makes_the_interpreter_panic(script in ".{0,200}") {
        model().1.exec(&script);
    }

    #[test]
    fn no_mix_of_its_own_words_makes_it_panic(
        words in proptest::collection::vec(proptest::sample::select(vec![
            ":put ", "/disk ", "add ", "set ", "[", "]", "{", "}", "(", ")", "\"", "\\", "$", "x",
            "=", "slot=", "find ", "where ", "~", "do=", ":do ", "on-error=", ";", "\n", " ", ".",
            "type=file ", "file-path=/storage-pool/x ", "file-size=1 ", "*1A", "as-value ", "!",
            "print ", ":if ", "&&", ":local ", "1", "é", "remove ", "detail ", "/file ", "\\41",
        ]), 0..40),
    ) {
        model().1.exec(&words.concat());
    }

    #[test]
    fn a_quoted_text_prints_as_it_was(text in "(?s).{0,80}") {
        prop_assert_eq!(run(&format!(":put {}", quote(&text))), format!("{text}\n"));
    }
}
