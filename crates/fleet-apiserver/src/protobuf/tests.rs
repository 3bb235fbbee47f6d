use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [tagged(1, api_version.as_bytes()), tagged(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), tagged(1, &meta), tagged(2, raw), tagged(3, b""), tagged(4, b"")].concat()
}

/// A row that couldn't be read would drop a field of every object silently.
#[test]
fn every_field_of_the_table_is_read() {
    let data = include_str!("../../data/protobuf-1.35.txt");
    let fields: usize =
        data.lines().map(|line| line.split(' ').skip(1).filter(|word| !word.is_empty()).count()).sum();
    assert_eq!((table::table().len(), table::table().fields()), (data.lines().count(), fields));
}

#[test]
fn a_namespace_as_go_sends_it_has_only_what_was_set() {
    let metadata =
        [tagged(1, b"demo"), tagged(2, b""), tagged(3, b""), varint(7, 0), tagged(8, b"")].concat();
    let raw = [tagged(1, &metadata), tagged(2, b""), tagged(3, &tagged(1, b""))].concat();
    let object = decode(&enveloped("v1", "Namespace", &raw)).unwrap();
    assert_eq!(object, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
}

#[test]
fn pointers_inlined_fields_and_special_types_keep_their_meaning() {
    // replicas: a pointer, so 0 counts; selector; template with a volume whose source is inlined.
    let volume = [tagged(1, b"v"), tagged(2, &tagged(2, b""))].concat();
    let quantity = [tagged(1, b"cpu"), tagged(2, &tagged(1, b"100m"))].concat();
    let port = [tagged(1, b""), varint(3, 80)].concat();
    let resources = tagged(2, &quantity);
    let container = [tagged(1, b"c"), tagged(6, &port), tagged(8, &resources)].concat();
    let pod = [tagged(1, &volume), tagged(2, &container)].concat();
    let spec = [varint(1, 0), tagged(3, &tagged(2, &pod))].concat();
    let object = decode(&enveloped("apps/v1", "Deployment", &tagged(2, &spec))).unwrap();
    let template = &object["spec"]["template"]["spec"];
    assert_eq!(object["spec"]["replicas"], 0);
    assert_eq!(template["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    assert_eq!(template["containers"][0]["resources"]["requests"], json!({"cpu": "100m"}));
    assert_eq!(template["containers"][0]["ports"], json!([{"containerPort": 80}]));
}

#[test]
fn what_is_no_envelope_or_no_known_kind_is_refused() {
    assert!(decode(b"{}").is_err());
    assert!(decode(b"k8s\0").is_err());
    assert!(decode(&enveloped("example.com/v1", "Widget", b"")).unwrap_err().contains("Widget"));
    assert!(decode(&enveloped("v1", "Namespace", &[0x0a, 0x7f])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&enveloped("v1", "Pod", bytes.get(..100).unwrap_or(&bytes)));
        let _ = decode(&[MAGIC, &bytes].concat());
    }
}
