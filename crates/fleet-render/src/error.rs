//! What can be wrong with an Application, in one line each: place, cause, next step.

use thiserror::Error;

/// Properties of an override policy that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("policy {policy:?} (override): {path}: {problem}")]
pub struct OverrideError {
    /// The policy's name.
    pub policy: String,
    /// The field, from the policy's root: `properties.components[0].traits[1].type`.
    pub path: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// Why nothing was rendered. Rendering is all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// An override names components of which there are none.
    #[error("policy {policy:?} (override): properties.components[{index}]: no component {wanted}{advice}")]
    NoSuchComponent {
        /// The policy's name.
        policy: String,
        /// The position in its list.
        index: usize,
        /// What it asked for: `is named "web"`.
        wanted: String,
        /// The nearest name, or all names.
        advice: String,
    },
    /// An override's selector names a component that doesn't exist.
    #[error(
        "policy {policy:?} (override): properties.selector[{index}]: no component is named {name:?}{advice}"
    )]
    NoSuchSelection {
        /// The policy's name.
        policy: String,
        /// The position in its list.
        index: usize,
        /// The name.
        name: String,
        /// The nearest name, or all names.
        advice: String,
    },
    /// An override disables a trait that no matching component has.
    #[error(
        "policy {policy:?} (override): properties.components[{index}]: disables trait {trait_type:?}, which {components} \
         doesn't have{advice}"
    )]
    NoSuchTraitToDisable {
        /// The policy's name.
        policy: String,
        /// The position in its list.
        index: usize,
        /// The trait's type.
        trait_type: String,
        /// The components it matches.
        components: String,
        /// The nearest trait, or all traits there.
        advice: String,
    },
    /// Two components have the same name.
    #[error("component {component:?} is there twice; names must be unique")]
    ComponentTwice {
        /// The name.
        component: String,
    },
    /// A component's type has no definition.
    #[error("component {component:?}: there is no component type {type_name:?}{advice}")]
    UnknownType {
        /// The component.
        component: String,
        /// Its type.
        type_name: String,
        /// The nearest type, or all types.
        advice: String,
    },
    /// A trait's type has no definition.
    #[error("component {component:?}: there is no trait type {trait_type:?}{advice}")]
    UnknownTrait {
        /// The component.
        component: String,
        /// The trait's type.
        trait_type: String,
        /// The nearest type, or all types.
        advice: String,
    },
    /// A definition exists but can't be used.
    #[error("{owner}: its definition can't be used: {problem}")]
    Definition {
        /// The component or trait.
        owner: String,
        /// What is wrong with the definition.
        problem: String,
    },
    /// A parameter is missing, unknown or of the wrong type.
    #[error("{owner}: {path}: {problem}")]
    Parameter {
        /// The component or trait, and the policies that changed it.
        owner: String,
        /// The field: `properties.replicas`.
        path: String,
        /// What is wrong, what is expected.
        problem: String,
    },
    /// A definition's check says no.
    #[error("{owner}: {message}")]
    Check {
        /// The component or trait.
        owner: String,
        /// The definition's message.
        message: String,
    },
    /// A template of a definition fails on this input.
    #[error("{owner}: {place}: {problem}")]
    Template {
        /// The component or trait.
        owner: String,
        /// The part of the definition.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A patch doesn't apply to the object.
    #[error("{owner}: the patch doesn't fit {object}: {problem}")]
    Patch {
        /// The trait.
        owner: String,
        /// The object: `Deployment "web"`.
        object: String,
        /// What is wrong.
        problem: String,
    },
    /// A patch would make another object of the object.
    #[error("{owner}: it would change {field} of {object}; {advice}")]
    Identity {
        /// The trait.
        owner: String,
        /// The object before.
        object: String,
        /// `apiVersion`, `kind`, `metadata.name` or `metadata.namespace`.
        field: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A patch says what each cluster writes itself.
    #[error("{owner}: it would change {field} of {object}: {why}")]
    ClustersOwn {
        /// The trait.
        owner: String,
        /// The object before.
        object: String,
        /// `status`, `metadata.uid` and the like.
        field: &'static str,
        /// Why it can't, and what to do instead.
        why: &'static str,
    },
    /// A trait fits none of a component's objects.
    #[error("{owner}: it applies to {accepts}, and the component has {objects}")]
    NotApplicable {
        /// The trait.
        owner: String,
        /// What it applies to.
        accepts: String,
        /// What is there.
        objects: String,
    },
    /// Something that should be an object isn't.
    #[error("component {component:?}: {path}: {problem}")]
    InvalidObject {
        /// The component.
        component: String,
        /// The field: `properties.objects[0].metadata.name`.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Two components deliver the same object.
    #[error("components {first:?} and {second:?} both deliver {object}; leave it in one of them")]
    SameObject {
        /// The earlier component.
        first: String,
        /// The later component.
        second: String,
        /// The object: `Service "web"`.
        object: String,
    },
}

impl RenderError {
    /// A stable word for scripts and conditions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchComponent { .. } => "OverrideMatchesNoComponent",
            Self::NoSuchSelection { .. } => "OverrideSelectsNoComponent",
            Self::NoSuchTraitToDisable { .. } => "OverrideDisablesNoTrait",
            Self::ComponentTwice { .. } => "DuplicateComponent",
            Self::UnknownType { .. } => "UnknownComponentType",
            Self::UnknownTrait { .. } => "UnknownTraitType",
            Self::Definition { .. } => "UnusableDefinition",
            Self::Parameter { .. } => "InvalidParameter",
            Self::Check { .. } => "CheckFailed",
            Self::Template { .. } => "TemplateFailed",
            Self::Patch { .. } => "PatchFailed",
            Self::Identity { .. } => "IdentityChanged",
            Self::ClustersOwn { .. } => "ClustersOwn",
            Self::NotApplicable { .. } => "TraitNotApplicable",
            Self::InvalidObject { .. } => "InvalidObject",
            Self::SameObject { .. } => "DuplicateObject",
        }
    }
}
