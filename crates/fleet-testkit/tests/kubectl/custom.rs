//! CustomResourceDefinitions and their objects.

use fleet_testkit::manifests;

use crate::support::Stage;

const CRD: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    selectableFields:
    - jsonPath: .spec.image
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [cronSpec]
            x-kubernetes-validations:
            - {rule: 'self.replicas <= self.maximum', message: too many}
            properties:
              cronSpec: {type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$', description: When.}
              image: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: Image is immutable}]}
              replicas: {type: integer, minimum: 1, default: 1}
              maximum: {type: integer, default: 10}
              mode: {type: string, enum: [fast, slow]}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, port: {type: integer}}}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
";

const OBJECT: &str = "\
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine, namespace: demo}
spec: {cronSpec: '* * * * */5', image: a}
";

#[test]
fn a_kind_comes_works_and_goes() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("crd.yaml", CRD);
    stage.write("mine.yaml", OBJECT);
    k.fails(
        "apply -f mine.yaml",
        &[
            "no matches for kind \"CronTab\" in version \"stable.example.com/v1\"",
            "ensure CRDs are installed first",
        ],
    );
    k.prints(
        "apply -f crd.yaml",
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created",
    );
    k.prints(
        "wait --for=condition=Established crd/crontabs.stable.example.com --timeout=20s",
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com condition met",
    );
    k.prints(
        "apply -f crd.yaml",
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com unchanged",
    );
    k.prints("apply -f mine.yaml", "crontab.stable.example.com/mine created");
    k.prints("apply -f mine.yaml", "crontab.stable.example.com/mine unchanged");
    k.prints("get ct -n demo", "NAME SPEC REPLICAS AGE\nmine * * * * */5 1 …");
    k.prints("get ct -n demo -o wide", "NAME SPEC REPLICAS IMAGE AGE\nmine * * * * */5 1 a …");
    k.prints("get ct mine -n demo -o jsonpath={.spec.replicas}/{.spec.maximum}", "1/10");
    k.prints("get ct -n demo --field-selector spec.image=a -o name", "crontab.stable.example.com/mine");
    k.prints("get all -n demo -o name", "crontab.stable.example.com/mine");
    k.prints("scale ct mine -n demo --replicas=3", "crontab.stable.example.com/mine scaled");
    k.prints("get ct mine -n demo -o jsonpath={.spec.replicas}/{.metadata.generation}", "3/2");
    k.prints(
        r#"patch ct mine -n demo --type=merge -p '{"spec":{"mode":"fast"}}'"#,
        "crontab.stable.example.com/mine patched",
    );
    k.prints(r#"patch ct mine -n demo --subresource=status --type=merge -p '{"status":{"replicas":3,"any":{"thing":1}}}'"#, "crontab.stable.example.com/mine patched");
    k.prints("get ct mine -n demo -o jsonpath={.status.any.thing}/{.metadata.generation}", "1/3");
    k.fails(
        r#"patch ct mine -n demo -p '{"spec":{"mode":"fast"}}'"#,
        &["application/strategic-merge-patch+json is not supported by stable.example.com/v1, Kind=CronTab"],
    );
    let ended = k.run_with("edit ct mine -n demo", "", &[("KUBE_EDITOR", "sed -i s/fast/slow/")]);
    assert!(ended.code == 0 && ended.out.contains("edited"), "{ended:?}");
    let described = k.ok("describe ct mine -n demo");
    assert!(described.contains("Cron Spec:  * * * * */5"), "{described}");
    let explained = k.ok("explain ct.spec");
    assert!(
        explained.contains("What is wanted.") && explained.contains("cronSpec\t<string> -required-"),
        "{explained}"
    );
    k.prints(
        "delete crd crontabs.stable.example.com",
        "customresourcedefinition.apiextensions.k8s.io \"crontabs.stable.example.com\" deleted",
    );
    // kubectl still has the kind in its discovery cache.
    k.fails("get ct -n demo", &["Unable to list \"stable.example.com/v1, Resource=crontabs\": the server could not find the requested resource"]);
    k.ok("apply -f crd.yaml");
    let none = k.run("get ct -n demo");
    assert!(
        none.code == 0 && none.err.contains("No resources found"),
        "objects outlived their definition: {none:?}"
    );
}

#[test]
fn invalid_objects_are_refused_with_the_place() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok_with("create -f -", CRD);
    let with = |spec: &str| OBJECT.replace("{cronSpec: '* * * * */5', image: a}", spec);
    k.fails_with(
        "apply -f -",
        &with("{image: a}"),
        &[
            "The CronTab \"mine\" is invalid:",
            "* spec.cronSpec: Required value",
            "some validation rules were not checked because the object was invalid",
        ],
    );
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', replicas: 0}"),
        &["spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1"],
    );
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: 'never'}"),
        &["spec.cronSpec: Invalid value: \"never\": spec.cronSpec in body should match"],
    );
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', mode: maybe}"),
        &["spec.mode: Unsupported value: \"maybe\": supported values: \"fast\", \"slow\""],
    );
    k.fails_with("apply -f -", &with("{cronSpec: '* * * * *', replicas: x}"), &["spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""]);
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', replicas: 11}"),
        &["spec: Invalid value: ", "too many"],
    );
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', some: thing}"),
        &["strict decoding error: unknown field \"spec.some\""],
    );
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', ports: [{name: a}, {name: a}]}"),
        &["spec.ports[1]: Duplicate value: {\"name\":\"a\"}"],
    );
    let pruned = k.run_with(
        "apply --validate=warn -f -",
        &with("{cronSpec: '* * * * *', some: thing, image: a}"),
        &[],
    );
    assert!(pruned.code == 0 && pruned.err.contains("Warning: unknown field \"spec.some\""), "{pruned:?}");
    k.prints("get ct mine -n demo -o jsonpath={.spec.some}", "");
    k.fails_with(
        "apply -f -",
        &with("{cronSpec: '* * * * *', image: b}"),
        &["spec.image: Invalid value: \"b\": Image is immutable"],
    );
    k.prints_with(
        "apply --server-side --force-conflicts -f -",
        &with("{cronSpec: '* * * * *', ports: [{name: a, port: 1}]}"),
        "crontab.stable.example.com/mine serverside-applied",
    );
    k.prints_with(
        "apply --server-side --field-manager=b -f -",
        &with("{cronSpec: '* * * * *', ports: [{name: b, port: 2}]}"),
        "crontab.stable.example.com/mine serverside-applied",
    );
    k.prints("get ct mine -n demo -o jsonpath={.spec.ports[*].name}", "a b");
}

#[test]
fn bad_definitions_are_refused() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.fails_with(
        "create -f -",
        &CRD.replace("crontabs.stable.example.com", "other.stable.example.com"),
        &["metadata.name: Invalid value", "spec.names.plural+\".\"+spec.group"],
    );
    k.fails_with(
        "create -f -",
        &CRD.replace("description: When.", "description: When., nonsense: 1"),
        &["unknown field", "nonsense"],
    );
    k.fails_with(
        "create -f -",
        &CRD.replace(
            "            type: object\n            description: What is wanted.",
            "            description: What is wanted.",
        ),
        &["type: Required value: must not be empty for specified object fields"],
    );
    k.fails_with(
        "create -f -",
        &CRD.replace("self.replicas <= self.maximum", "self.replicas <= ("),
        &["x-kubernetes-validations[0].rule"],
    );
    k.fails_with(
        "create -f -",
        &CRD.replace("storage: true", "storage: false"),
        &["must have exactly one version marked as storage version"],
    );
}

/// The columns of our own kinds as users see them.
#[test]
fn our_own_kinds_have_their_columns() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.prints(
        "get managedcluster",
        "
        NAME     HUB ACCEPTED   ALIAS               JOINED   AVAILABLE   AGE
        mc-bj1   true           cluster1-beijing    True     True        …
        mc-hz1   true           cluster1-hangzhou   True     True        …",
    );
    k.ok_with("apply -f -", "{apiVersion: core.oam.dev/v1beta1, kind: Application, metadata: {name: web, namespace: demo}, \
        spec: {components: [{name: main, type: ref-objects, properties: {objects: [{apiVersion: v1, kind: ConfigMap, name: x}]}}]}}");
    k.prints("get app web -n demo", "NAME COMPONENT TYPE PHASE HEALTHY STATUS AGE\nweb main ref-objects …");
    k.fails_with("apply -f -", "{apiVersion: core.oam.dev/v1beta1, kind: Application, metadata: {name: bad, namespace: demo}, spec: {components: [{type: x}]}}",
        &["spec.components[0].name: Required value"]);
}

/// The README's files, with validation on; without a controller they are kept as they are.
#[test]
fn the_three_centres_apply() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("app-meta.yaml", manifests::APP_META);
    stage.write("app.yaml", manifests::APP);
    let created = k.ok("apply -f app-meta.yaml -f app.yaml");
    assert!(
        created.lines().all(|line| line.ends_with(" created")) && created.lines().count() > 3,
        "{created}"
    );
    let again = k.ok("apply -f app-meta.yaml -f app.yaml");
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    assert_eq!(k.run("diff -f app-meta.yaml -f app.yaml").code, 0);
    let applied = k.ok("apply --server-side -f app-meta.yaml -f app.yaml");
    assert!(applied.lines().all(|line| line.ends_with(" serverside-applied")), "{applied}");
    k.prints(
        "annotate app web-demo -n demo app.oam.dev/publishVersion=version9 --overwrite",
        "application.core.oam.dev/web-demo annotated",
    );
    k.prints("get deployment web-demo -n demo -o jsonpath={.status}", "{}");
}
