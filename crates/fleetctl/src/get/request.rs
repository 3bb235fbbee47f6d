//! What is asked for, read from the words of the command line.

use fleet_schema::JsonPath;

use crate::args::GetArgs;
use crate::exit::{Failure, Outcome};

use super::jsonpath::Template;

/// How it is to be written.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// For people.
    Table {
        /// With the columns of lower priority.
        wide: bool,
    },
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `deployment.apps/web-demo`.
    Name,
    /// A JSONPath template.
    JsonPath(Template),
    /// Columns of one's own: heading and path.
    Columns(Vec<(String, JsonPath)>),
}

impl Format {
    fn read(text: Option<&str>) -> Outcome<Self> {
        match text {
            None | Some("") => Ok(Self::Table { wide: false }),
            Some("wide") => Ok(Self::Table { wide: true }),
            Some("json") => Ok(Self::Json),
            Some("yaml") => Ok(Self::Yaml),
            Some("name") => Ok(Self::Name),
            Some(other) => match other.split_once('=') {
                Some(("jsonpath", template)) => Template::read(template).map(Self::JsonPath),
                Some(("custom-columns", columns)) => Self::columns(columns),
                _ => Err(Failure::usage(format!(
                    "-o {other:?} isn't known; formats: wide, json, yaml, name, jsonpath=TEMPLATE, \
                     custom-columns=HEADING:PATH,…"
                ))),
            },
        }
    }

    fn columns(text: &str) -> Outcome<Self> {
        let refuse = |why: String| {
            Failure::usage(format!(
                "-o custom-columns={text:?}: {why}; write it as in custom-columns=NAME:.metadata.name,IMAGE:.spec.image"
            ))
        };
        let mut columns = Vec::new();
        for column in text.split(',') {
            let pair =
                column.split_once(':').filter(|(heading, path)| !heading.is_empty() && !path.is_empty());
            let Some((heading, path)) = pair else {
                return Err(refuse(format!("{column:?} isn't HEADING:PATH")));
            };
            let path = path.trim_start_matches('{').trim_end_matches('}');
            let path = if path.starts_with(['.', '[']) { path.to_owned() } else { format!(".{path}") };
            let path = JsonPath::compile(&path).map_err(|error| refuse(error.to_string()))?;
            columns.push((heading.to_owned(), path));
        }
        Ok(Self::Columns(columns))
    }

    pub(crate) fn is_for_programs(&self) -> bool {
        !matches!(self, Self::Table { .. } | Self::Name | Self::Columns(_))
    }
}

/// Objects of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// As typed: `deploy`, `deployments.apps`.
    pub(crate) type_: String,
    /// Names; empty for all.
    pub(crate) names: Vec<String>,
}

/// Everything that is asked of each cluster.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) all_namespaces: bool,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
    pub(crate) format: Format,
    pub(crate) no_headers: bool,
    pub(crate) show_labels: bool,
    /// One object is asked for by name, so that it is written alone, not as a list.
    pub(crate) single: bool,
}

/// A kind as it is typed so that it means no other: `deployment.v1.apps`, `configmap.v1`.
pub(crate) fn kind_word(api_version: &str, kind: &str) -> String {
    let kind = kind.to_lowercase();
    match api_version.split_once('/') {
        Some((group, version)) => format!("{kind}.{version}.{group}"),
        None => format!("{kind}.{api_version}"),
    }
}

impl Request {
    pub(crate) fn read(arguments: &GetArgs) -> Outcome<Self> {
        let wanted = wanted(&arguments.resource, &arguments.names)?;
        let named = wanted.iter().any(|wanted| !wanted.names.is_empty());
        if named && (arguments.selector.is_some() || arguments.field_selector.is_some()) {
            return Err(Failure::usage("names and selectors exclude each other; give one of them"));
        }
        if named && arguments.all_namespaces {
            return Err(Failure::usage("a name can't be looked for in all namespaces; name one with -n"));
        }
        let single = matches!(wanted.as_slice(), [only] if only.names.len() == 1);
        Ok(Self {
            wanted,
            all_namespaces: arguments.all_namespaces,
            labels: arguments.selector.clone(),
            fields: arguments.field_selector.clone(),
            format: Format::read(arguments.output.as_deref())?,
            no_headers: arguments.no_headers,
            show_labels: arguments.show_labels,
            single,
        })
    }

    /// One object of a namespace.
    pub(crate) fn one(api_version: &str, kind: &str, name: &str) -> Outcome<Self> {
        Self::objects(&[format!("{}/{name}", kind_word(api_version, kind))], None)
    }

    /// Whole objects of one namespace: `KIND/NAME …`, or `KIND,…` with labels.
    pub(crate) fn objects(words: &[String], labels: Option<&str>) -> Outcome<Self> {
        let (first, more) = words.split_first().ok_or_else(|| Failure::usage("no object is named"))?;
        Ok(Self {
            wanted: wanted(first, more)?,
            all_namespaces: false,
            labels: labels.map(str::to_owned),
            fields: None,
            format: Format::Json,
            no_headers: false,
            show_labels: false,
            single: false,
        })
    }

    /// All names that are asked for.
    pub(crate) fn names(&self) -> Vec<&String> {
        self.wanted.iter().flat_map(|wanted| &wanted.names).collect()
    }

    /// Whether members themselves are asked for, for a person to read.
    pub(crate) fn is_members_table(&self) -> bool {
        const WORDS: [&str; 6] = [
            "managedcluster",
            "managedclusters",
            "mcl",
            "mcls",
            "managedcluster.cluster.open-cluster-management.io",
            "managedclusters.cluster.open-cluster-management.io",
        ];
        let plain = matches!(self.format, Format::Table { wide: false }) && !self.show_labels;
        let all = self.labels.is_none() && self.fields.is_none();
        let members =
            matches!(self.wanted.as_slice(), [only] if WORDS.contains(&only.type_.to_lowercase().as_str()));
        plain && all && members
    }
}

fn wanted(resource: &str, more: &[String]) -> Outcome<Vec<Wanted>> {
    let words: Vec<&str> = std::iter::once(resource).chain(more.iter().map(String::as_str)).collect();
    if resource.contains('/') {
        let mut all: Vec<Wanted> = Vec::new();
        for word in words {
            let pair = word.split_once('/').filter(|(type_, name)| {
                !type_.is_empty() && !name.is_empty() && !name.contains('/') && !type_.contains(',')
            });
            let Some((type_, name)) = pair else {
                return Err(Failure::usage(format!(
                    "{word:?} isn't TYPE/NAME; write every object so, as in deploy/web-demo svc/web-demo"
                )));
            };
            match all.iter_mut().find(|wanted| wanted.type_ == type_) {
                Some(known) => known.names.push(name.to_owned()),
                None => all.push(Wanted { type_: type_.to_owned(), names: vec![name.to_owned()] }),
            }
        }
        return Ok(all);
    }
    if let Some(odd) = more.iter().find(|name| name.contains('/') || name.is_empty()) {
        return Err(Failure::usage(format!(
            "{odd:?} can't be a name; write TYPE NAME, or TYPE/NAME for every object"
        )));
    }
    let mut types: Vec<&str> = resource.split(',').map(str::trim).filter(|type_| !type_.is_empty()).collect();
    let mut seen = std::collections::BTreeSet::new();
    types.retain(|type_| seen.insert(*type_));
    if types.is_empty() {
        return Err(Failure::usage("no resource type; write one as in get deployment"));
    }
    Ok(types.into_iter().map(|type_| Wanted { type_: type_.to_owned(), names: more.to_vec() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(resource: &str, names: &[&str]) -> Outcome<Vec<(String, Vec<String>)>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(wanted(resource, &names)?.into_iter().map(|wanted| (wanted.type_, wanted.names)).collect())
    }

    /// What isn't heading and path is refused with the place.
    #[test]
    fn columns_of_ones_own() {
        assert!(
            matches!(Format::read(Some("custom-columns=N:.metadata.name,I:spec.x")), Ok(Format::Columns(c)) if c.len() == 2)
        );
        for wrong in [
            "custom-columns=",
            "custom-columns=N",
            "custom-columns=N:",
            "custom-columns=N:.a[",
            "columns=N:.a",
        ] {
            assert_eq!(Format::read(Some(wrong)).unwrap_err().exit.code(), 2, "{wrong}");
        }
    }

    /// The forms that kubectl takes.
    #[test]
    fn words() {
        let own = |pairs: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            pairs.iter().map(|(type_, all)| ((*type_).to_owned(), names(all))).collect()
        };
        assert_eq!(read("deploy", &[]).unwrap(), own(&[("deploy", &[])]));
        assert_eq!(read("deploy,svc,deploy", &[]).unwrap(), own(&[("deploy", &[]), ("svc", &[])]));
        assert_eq!(read("deploy,svc", &["web"]).unwrap(), own(&[("deploy", &["web"]), ("svc", &["web"])]));
        assert_eq!(
            read("deploy/a", &["svc/b", "deploy/c"]).unwrap(),
            own(&[("deploy", &["a", "c"]), ("svc", &["b"])])
        );
        assert_eq!(read("deploy/a", &["b"]).unwrap_err().exit.code(), 2);
        assert_eq!(read("deploy", &["svc/b"]).unwrap_err().exit.code(), 2);
        assert_eq!(read(",", &[]).unwrap_err().exit.code(), 2);
    }
}
