//! The document against the table, and against the rules of OpenAPI 3.1.

use std::collections::BTreeSet;

use super::*;

const SERVERS: [Server; 3] = [Server::Conductor, Server::Supervisor, Server::Module];

fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let of = |(path, methods): (&String, &Value)| {
        let methods: Vec<String> = methods
            .as_object()
            .expect("methods")
            .keys()
            .cloned()
            .collect();
        let path = path.clone();
        methods
            .into_iter()
            .map(move |method| (path.clone(), method.to_uppercase()))
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_document_has_each_route_of_its_server_and_no_other() {
    for server in SERVERS {
        let lines = ENDPOINTS.iter().filter(|endpoint| endpoint.is_on(server));
        let lines: BTreeSet<_> = lines
            .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_owned()))
            .collect();
        assert_eq!(operations(&document(server)), lines, "{server:?}");
    }
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => {
                        found.insert(text.clone());
                    }
                    value => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_keeps_the_rules_of_openapi() {
    for server in SERVERS {
        let document = document(server);
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let mut names = BTreeSet::new();
        for (path, method) in operations(&document) {
            let at = format!("{method} {path}");
            let operation = &document["paths"][&path][method.to_lowercase()];
            let name = operation["operationId"].as_str().expect("an id");
            assert!(names.insert(name.to_owned()), "{at}: {name} twice");
            assert!(
                !operation["summary"].as_str().expect("a summary").is_empty(),
                "{at}"
            );
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.contains_key("default"), "{at}");
            for response in responses.values() {
                assert!(
                    response["description"].is_string() || response["$ref"].is_string(),
                    "{at}"
                );
            }
            // Parameters of the path are those of its template.
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let in_path = parameters.iter().filter(|it| it["in"] == "path");
            let in_path: Vec<&str> = in_path.filter_map(|it| it["name"].as_str()).collect();
            let in_template = path.split('/').filter(|part| part.starts_with('{'));
            let in_template: Vec<&str> = in_template
                .map(|part| part.trim_matches(['{', '}']))
                .collect();
            assert_eq!(in_path, in_template, "{at}");
            for parameter in &parameters {
                assert!(parameter["schema"].is_object(), "{at}");
            }
            for wanted in operation["security"].as_array().expect("security") {
                let scheme = wanted.as_object().expect("a scheme").keys().next();
                let schemes = &document["components"]["securitySchemes"];
                assert!(schemes[scheme.expect("one")].is_object(), "{at}");
            }
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("of this document");
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
    }
}

#[test]
fn types_are_described_by_their_names_in_json() {
    let document = document(Server::Conductor);
    let schemas = &document["components"]["schemas"];
    let deploy = &schemas["Deploy"];
    assert_eq!(deploy["properties"]["dryRun"]["type"], "boolean");
    assert_eq!(deploy["properties"]["tasks"]["type"], "integer");
    assert!(schemas["Problem"]["properties"]["retryable"].is_object());
    let status = &document["paths"]["/v1/modules/{module}"]["get"]["responses"]["200"];
    let schema = &status["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/ModuleStatus");
}
