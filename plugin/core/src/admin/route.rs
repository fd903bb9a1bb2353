//! The endpoints with their paths and methods.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::problem::Problem;
use crate::policy::Section;
use crate::text::percent::decode;

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpMethod {
    /// `GET` or `HEAD`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl HttpMethod {
    /// Returns the name of the method.
    pub(super) fn name(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
        }
    }

    fn from_name(name: &str) -> Option<HttpMethod> {
        match name {
            "GET" | "HEAD" => Some(HttpMethod::Get),
            "POST" => Some(HttpMethod::Post),
            "PUT" => Some(HttpMethod::Put),
            "PATCH" => Some(HttpMethod::Patch),
            "DELETE" => Some(HttpMethod::Delete),
            _ => None,
        }
    }
}

/// An endpoint of the management API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// This gateway.
    Gateway,
    /// The current user.
    Me,
    /// Usage of the current user's keys.
    MyUsage,
    /// The targets that the current user may call.
    Targets,
    /// All organizations.
    Organizations,
    /// One organization.
    Organization,
    /// Usage of an organization.
    OrganizationUsage,
    /// Members of an organization.
    OrganizationMembers,
    /// One member of an organization.
    OrganizationMember,
    /// Teams of an organization.
    OrganizationTeams,
    /// One team.
    Team,
    /// Access selection of a team.
    TeamAccess,
    /// Self-service policy of a team.
    TeamSelfService,
    /// Members of a team.
    TeamMembers,
    /// One member of a team.
    TeamMember,
    /// Usage of one member of a team.
    TeamMemberUsage,
    /// Service accounts of a team.
    ServiceAccounts,
    /// One service account.
    ServiceAccount,
    /// Keys of a team.
    TeamKeys,
    /// Usage of a team.
    TeamUsage,
    /// One key.
    Key,
    /// Rotation of a key.
    KeyRotation,
    /// Usage of a key.
    KeyUsage,
    /// The audit log.
    Audit,
    /// The preparation of a planned stop.
    Drain,
}

impl Endpoint {
    /// Returns the section of the policy that the first id in the path belongs to.
    pub(super) fn section(self) -> Option<Section> {
        match self {
            Endpoint::Gateway
            | Endpoint::Me
            | Endpoint::MyUsage
            | Endpoint::Targets
            | Endpoint::Organizations
            | Endpoint::Audit
            | Endpoint::Drain => None,
            Endpoint::Organization
            | Endpoint::OrganizationUsage
            | Endpoint::OrganizationMembers
            | Endpoint::OrganizationMember
            | Endpoint::OrganizationTeams => Some(Section::Organizations),
            Endpoint::Team
            | Endpoint::TeamAccess
            | Endpoint::TeamSelfService
            | Endpoint::TeamMembers
            | Endpoint::TeamMember
            | Endpoint::TeamMemberUsage
            | Endpoint::ServiceAccounts
            | Endpoint::ServiceAccount
            | Endpoint::TeamKeys
            | Endpoint::TeamUsage => Some(Section::Teams),
            Endpoint::Key | Endpoint::KeyRotation | Endpoint::KeyUsage => Some(Section::Keys),
        }
    }
}

/// An endpoint with its path and methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointRoute {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Path below the prefix; names in braces stand for ids.
    pub template: &'static str,
    /// Supported methods.
    pub methods: &'static [HttpMethod],
}

const fn route(endpoint: Endpoint, template: &'static str, methods: &'static [HttpMethod]) -> EndpointRoute {
    EndpointRoute { endpoint, template, methods }
}

use HttpMethod::{Delete, Get, Patch, Post, Put};

/// All endpoints. A path matches at most one.
pub(super) const ENDPOINTS: &[EndpointRoute] = &[
    route(Endpoint::Gateway, "/", &[Get]),
    route(Endpoint::Me, "/me", &[Get]),
    route(Endpoint::MyUsage, "/me/usage", &[Get]),
    route(Endpoint::Targets, "/targets", &[Get]),
    route(Endpoint::Organizations, "/organizations", &[Get, Post]),
    route(Endpoint::Organization, "/organizations/{organization}", &[Get, Patch, Delete]),
    route(Endpoint::OrganizationUsage, "/organizations/{organization}/usage", &[Get]),
    route(Endpoint::OrganizationMembers, "/organizations/{organization}/members", &[Get]),
    route(Endpoint::OrganizationMember, "/organizations/{organization}/members/{user}", &[Get, Put, Delete]),
    route(Endpoint::OrganizationTeams, "/organizations/{organization}/teams", &[Get, Post]),
    route(Endpoint::Team, "/teams/{team}", &[Get, Patch, Delete]),
    route(Endpoint::TeamAccess, "/teams/{team}/access", &[Get, Put]),
    route(Endpoint::TeamSelfService, "/teams/{team}/self-service", &[Get, Put]),
    route(Endpoint::TeamMembers, "/teams/{team}/members", &[Get]),
    route(Endpoint::TeamMember, "/teams/{team}/members/{user}", &[Get, Put, Delete]),
    route(Endpoint::TeamMemberUsage, "/teams/{team}/members/{user}/usage", &[Get]),
    route(Endpoint::ServiceAccounts, "/teams/{team}/service-accounts", &[Get]),
    route(Endpoint::ServiceAccount, "/teams/{team}/service-accounts/{account}", &[Get, Put, Delete]),
    route(Endpoint::TeamKeys, "/teams/{team}/keys", &[Get, Post]),
    route(Endpoint::TeamUsage, "/teams/{team}/usage", &[Get]),
    route(Endpoint::Key, "/keys/{key}", &[Get, Patch, Delete]),
    route(Endpoint::KeyRotation, "/keys/{key}/rotate", &[Post]),
    route(Endpoint::KeyUsage, "/keys/{key}/usage", &[Get]),
    route(Endpoint::Audit, "/audit", &[Get]),
    route(Endpoint::Drain, "/drain", &[Post]),
];

/// The endpoint of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndpointMatch {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The method.
    pub method: HttpMethod,
    /// The decoded ids in the path, in order; unused ones are empty.
    pub ids: [String; 2],
}

/// Finds the endpoint of a request.
///
/// # Errors
/// 404 for an unknown path, 405 with `Allow` for an unsupported method.
pub(super) fn find(method: &str, path: &str) -> Result<EndpointMatch, Problem> {
    let path = if path.is_empty() { "/" } else { path };
    let found = ENDPOINTS.iter().find_map(|route| Some((route, ids(route.template, path)?)));
    let Some((route, ids)) = found else {
        return Err(Problem::new(404, "not_found", "The management API has no endpoint at this path."));
    };
    match HttpMethod::from_name(method).filter(|method| route.methods.contains(method)) {
        Some(method) => Ok(EndpointMatch { endpoint: route.endpoint, method, ids }),
        None => {
            let allow: Vec<&str> = route.methods.iter().map(|method| method.name()).collect();
            let allow = allow.join(", ");
            let detail = format!("This endpoint supports only {allow}.");
            Err(Problem::new(405, "method_not_allowed", detail).with("allow", allow))
        }
    }
}

/// Returns the ids in the path at the names of the template; `None` if the path does not match.
fn ids(template: &str, path: &str) -> Option<[String; 2]> {
    let mut ids = [const { String::new() }; 2];
    let mut slots = ids.iter_mut();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            *slots.next()? = decode(segment).filter(|id| !id.is_empty())?.to_string();
        } else if segment != expected {
            return None;
        }
    }
    segments.next().is_none().then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_decodes_the_ids_in_the_path() {
        let found = find("PUT", "/teams/search/members/bob%40acme.example").unwrap();
        assert_eq!(found.endpoint, Endpoint::TeamMember);
        assert_eq!(found.ids, ["search".to_string(), "bob@acme.example".to_string()]);
        assert_eq!(find("HEAD", "/me").unwrap().method, HttpMethod::Get);
        for path in ["", "/"] {
            assert_eq!(find("GET", path).unwrap().endpoint, Endpoint::Gateway);
        }
        for path in ["//", "/teams", "/teams/", "/teams/a/", "/teams/a/keys/b", "/me/x", "me"] {
            assert_eq!(find("GET", path).unwrap_err().status, 404, "{path}");
        }
    }

    #[test]
    fn an_unsupported_method_is_answered_with_allow() {
        let problem = find("POST", "/teams/search").unwrap_err();
        assert_eq!(problem.status, 405);
        assert_eq!(problem.fields, [("allow", "GET, PATCH, DELETE".to_string())]);
    }
}
