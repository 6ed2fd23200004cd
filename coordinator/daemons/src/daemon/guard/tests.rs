//! Roles against the table of routes.

use rama_api::endpoints::{ENDPOINTS, Server};
use rama_api::{Access, paths};

use super::*;

/// What a role may ask of the daemons, as `METHOD path`.
fn may(role: Role) -> Vec<String> {
    let grant = granted(role);
    let opens = |access: Access| match access {
        Access::Open | Access::Known => true,
        Access::Scope(wanted) => grant.scopes.iter().any(|scope| scope.covers(wanted)),
        Access::ScopeOrProcess(wanted) => {
            grant.process || grant.scopes.iter().any(|scope| scope.covers(wanted))
        }
    };
    let all = ENDPOINTS.iter();
    let daemons = all.filter(|it| it.is_on(Server::Conductor) || it.is_on(Server::Supervisor));
    daemons
        .filter(|endpoint| opens(endpoint.access))
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect()
}

#[test]
fn each_role_gets_its_own_and_no_more() {
    let client = [
        "GET /livez",
        "GET /readyz",
        "GET /openapi.json",
        "GET /v1/modules/{module}/routes",
        "GET /v1/module-names",
        "GET /rest/{module}",
        "POST /rest/{module}/depot/{depot}/append",
        "POST /rest/{module}/pstate/{pstate}/select",
        "POST /rest/{module}/pstate/{pstate}/selectOne",
        "POST /rest/{module}/query/{query}/invoke",
        "GET /rest/{module}/pstate/{pstate}/watch",
        "POST /rest/{module}/pstate/{pstate}/watch",
        "GET /rest/{module}/pstate/{pstate}/proxy",
        "POST /rest/{module}/pstate/{pstate}/proxy",
        "GET /rest/{module}/dead-letters",
    ];
    assert_eq!(may(Role::Client), client);
    for role in [Role::Conductor, Role::Supervisor, Role::Worker] {
        let more: Vec<String> = may(role)
            .into_iter()
            .filter(|line| !client.contains(&line.as_str()))
            .collect();
        let programs = [paths::ARTIFACT, paths::SIGNATURE].map(|path| format!("GET {path}"));
        assert_eq!(more, programs, "{role}");
    }
    let all = ENDPOINTS.iter();
    let all = all.filter(|it| it.is_on(Server::Conductor) || it.is_on(Server::Supervisor));
    assert_eq!(may(Role::Operator).len(), all.count());
}
