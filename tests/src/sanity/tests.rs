//! Reports as Ginkgo writes them, and what is complained about.

use serde_json::json;

use super::*;

const CLONES: Exception = Exception {
    reason: "there are no clones",
    container: "Controller Service CreateVolume",
    specs: &["should clone"],
};

fn report(specs: &[(&str, &str)]) -> Report {
    let spec = |(name, state): &(&str, &str)| {
        let failed = *state != "passed" && *state != "pending";
        let failure = failed.then(|| json!({ "Message": format!("because it is {state}") }));
        json!({
            "ContainerHierarchyTexts": ["Controller Service", "CreateVolume"],
            "LeafNodeType": "It",
            "LeafNodeText": name,
            "State": state,
            "Failure": failure,
        })
    };
    let specs: Vec<_> = specs.iter().map(spec).collect();
    Report::parse(&json!([{ "SpecReports": specs }]).to_string()).unwrap()
}

#[test]
fn specs_that_pass_and_exceptions_that_are_not_run_are_as_they_should_be() {
    for not_run in ["skipped", "pending"] {
        let report = report(&[("should work", "passed"), ("should clone", not_run)]);
        assert_eq!(report.complaints(&[CLONES]), [""; 0]);
        assert_eq!((report.passed(), report.total()), (1, 2));
    }
}

#[test]
fn a_spec_that_fails_is_told_with_its_message_even_if_it_is_excepted() {
    for state in ["failed", "panicked", "timedout", "interrupted", "aborted"] {
        let report = report(&[("should clone", state)]);
        let told =
            format!("Controller Service CreateVolume should clone: {state}: because it is {state}");
        assert_eq!(report.complaints(&[CLONES]), [told]);
        assert_eq!(report.passed(), 0);
    }
}

#[test]
fn a_skip_that_is_no_exception_is_complained_about() {
    let report = report(&[("should work", "skipped"), ("should clone", "skipped")]);
    assert_eq!(
        report.complaints(&[CLONES]),
        ["Controller Service CreateVolume should work: not run, and no exception"]
    );
}

#[test]
fn an_exception_that_passes_or_does_not_exist_is_complained_about() {
    assert_eq!(
        report(&[("should clone", "passed")]).complaints(&[CLONES]),
        ["Controller Service CreateVolume should clone: an exception, but it was run and passed"]
    );
    assert_eq!(
        report(&[]).complaints(&[CLONES]),
        [
            "Controller Service CreateVolume should clone: an exception, but csi-sanity has no such spec"
        ]
    );
}

#[test]
fn a_suite_whose_setup_failed_is_complained_about() {
    let setup = |state: &str| {
        let spec = json!({
            "ContainerHierarchyTexts": null,
            "LeafNodeType": "BeforeSuite",
            "LeafNodeText": "",
            "State": state,
            "Failure": { "Message": "no socket", "ForwardedPanic": "nil" },
        });
        Report::parse(&json!([{ "SpecReports": [spec] }]).to_string()).unwrap()
    };
    assert_eq!(
        setup("panicked").complaints(&[]),
        ["BeforeSuite: panicked: no socket nil"]
    );
    assert_eq!(setup("passed").total(), 0);
}

#[test]
fn what_is_no_report_and_specs_of_one_name_are_refused() {
    Report::parse("{}").unwrap_err();
    let spec = json!({ "LeafNodeType": "It", "LeafNodeText": "a", "State": "passed" });
    let error = Report::parse(&json!([{ "SpecReports": [spec, spec] }]).to_string());
    assert_eq!(error.unwrap_err().to_string(), "two specs are called \"a\"");
}

#[test]
fn the_summary_has_each_exception_with_its_reason() {
    let report = report(&[("should work", "passed"), ("should clone", "skipped")]);
    let summary = Summary {
        report: &report,
        exceptions: &[CLONES],
    };
    assert_eq!(
        summary.to_string(),
        "1 of 2 specs passed; not run:\n   1 of Controller Service CreateVolume: there are no clones\n"
    );
}
