//! Definitions, `core.oam.dev/v1beta1`: what a type name in an Application means.
//!
//! Their schematic is ours (`spec.schematic.fleet`: OpenAPI parameters and a YAML template with `${CEL}`);
//! `fleet-render` reads it. Other fields are kept as they are.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! definition {
    ($kind:literal, $short:literal, $spec:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[kube(group = "core.oam.dev", version = "v1beta1", kind = $kind, namespaced, shortname = $short, category = "oam")]
        #[kube(printcolumn(
            name = "DESCRIPTION",
            type_ = "string",
            json_path = ".metadata.annotations.definition\\.oam\\.dev/description"
        ))]
        #[schemars(schema_with = "crate::schemas::free_form")]
        pub struct $spec {
            /// Everything below spec.
            #[serde(flatten)]
            #[schemars(schema_with = "crate::schemas::free_form")]
            pub rest: Map<String, Value>,
        }
    };
}

definition!("ComponentDefinition", "comp", ComponentDefinitionSpec, "What a component type renders.");
definition!("TraitDefinition", "trait", TraitDefinitionSpec, "What a trait changes or adds.");
definition!("PolicyDefinition", "def-policy", PolicyDefinitionSpec, "What a policy type takes.");
definition!("WorkflowStepDefinition", "workflowstep", WorkflowStepDefinitionSpec, "What a step type takes.");
