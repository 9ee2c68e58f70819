//! Documents, lists and files as they come in pull requests, whole and broken.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn stdin(text: &str) -> Manifests {
    read(&["-".into()], &mut text.as_bytes())
}

#[test]
fn documents_are_counted_without_empty_ones() {
    let found = stdin(
        "---\n# only words\n---\na: 1\n---\n\n--- # second\nb: 2\n...\n---\nc: |\n  ---\n  x\n",
    );
    let documents: Vec<_> = found
        .objects
        .iter()
        .map(|m| (m.document, m.object.clone()))
        .collect();
    assert_eq!(
        documents,
        [
            (1, json!({"a": 1})),
            (2, json!({"b": 2})),
            (3, json!({"c": "---\nx\n"})),
        ]
    );
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
}

#[test]
fn a_broken_document_is_named_by_file_number_and_line_and_hides_no_other() {
    let found = stdin("a: 1\n---\nb: [1,\nc: 2\n---\nd: 3\n");
    assert_eq!(found.objects.len(), 2);
    let error = &found.unreadable[0];
    assert_eq!((error.file.as_str(), error.document), ("-", Some(2)));
    assert!((3..=5).contains(&error.line.unwrap()), "{error}");
    assert!(error.to_string().starts_with("-:2 (line "), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn lists_are_unfolded() {
    let found = stdin(
        "kind: List\napiVersion: v1\nitems:\n- {kind: A, apiVersion: v1}\n- {kind: List, items: [{kind: B}]}\n---\n\
         kind: PersistentVolumeClaimList\napiVersion: v1\nitems:\n- metadata: {name: x}\n",
    );
    let kinds: Vec<_> = found.objects.iter().map(|m| m.text("/kind")).collect();
    assert_eq!(kinds, ["A", "B", "PersistentVolumeClaim"]);
    assert!(found.objects[2].is("v1", "PersistentVolumeClaim"));
}

#[test]
fn lists_in_lists_end_somewhere() {
    let mut object = json!({"kind": "A"});
    for _ in 0..20 {
        object = json!({"kind": "List", "items": [object]});
    }
    let found = stdin(&object.to_string());
    assert_eq!((found.objects.len(), found.unreadable.len()), (0, 1));
}

#[test]
fn directories_are_read_in_order_without_hidden_names_and_link_loops() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(root.join(".git")).unwrap();
    for name in ["b.yaml", "a.yml", "sub/c.json", ".git/d.yaml", "e.txt"] {
        std::fs::write(root.join(name), format!("{{\"file\": {name:?}}}")).unwrap();
    }
    std::os::unix::fs::symlink(root, root.join("sub/loop")).unwrap();
    std::os::unix::fs::symlink(root.join("b.yaml"), root.join("sub/link.yaml")).unwrap();
    let found = read(&[root.to_owned()], &mut std::io::empty());
    let files: Vec<_> = found.objects.iter().map(|m| m.text("/file")).collect();
    assert_eq!(files, ["a.yml", "b.yaml", "sub/c.json", "b.yaml"]);
    assert!(found.unreadable.is_empty());
    let named = read(&[root.join("e.txt")], &mut std::io::empty());
    assert_eq!(
        named.objects.len(),
        1,
        "a named file is read whatever its name"
    );
}

#[test]
fn what_is_missing_or_not_text_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("x.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00, 0xd8]).unwrap();
    let missing = directory.path().join("none.yaml");
    let found = read(&[binary.clone(), missing.clone()], &mut std::io::empty());
    let files: Vec<_> = found.unreadable.iter().map(|e| e.file.clone()).collect();
    assert_eq!(
        files,
        [missing.display().to_string(), binary.display().to_string()]
    );
}

#[test]
fn a_class_that_cannot_be_read_stops_its_reader() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("class.yaml");
    std::fs::write(
        &path,
        "kind: StorageClass\napiVersion: storage.k8s.io/v1\nmetadata: {name: a}\nprovisioner: x\n",
    )
    .unwrap();
    let classes = storage_classes(std::slice::from_ref(&path)).unwrap();
    assert_eq!(classes.provisioner("a"), Some("x"));
    std::fs::write(
        &path,
        "kind: StorageClass\napiVersion: storage.k8s.io/v1\nprovisioner: [x]\n",
    )
    .unwrap();
    assert!(
        storage_classes(&[path])
            .unwrap_err()
            .contains("class.yaml:1")
    );
}

#[test]
fn an_alias_bomb_is_an_error_and_no_outage() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![alias; 10].join(", ")
        ));
    }
    let found = stdin(&bomb);
    assert_eq!((found.objects.len(), found.unreadable.len()), (0, 1));
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n|---\n|: |- ){0,60}") {
        let _ = stdin(&text);
    }
}
