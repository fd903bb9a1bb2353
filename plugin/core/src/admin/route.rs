//! The endpoints: what stands where, and which methods it takes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::problem::Problem;
use crate::policy::Section;
use crate::text::percent::decode;

/// An HTTP method that some endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`; also stands for `HEAD`.
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
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
        }
    }

    fn named(name: &str) -> Option<HttpMethod> {
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

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The signed-in.
    Me,
    /// What the signed-in may call.
    Targets,
    /// All organizations.
    Organizations,
    /// One organization.
    Organization,
    /// What an organization used.
    OrganizationUsage,
    /// Its people.
    OrganizationMembers,
    /// One of them.
    OrganizationMember,
    /// Its teams.
    OrganizationTeams,
    /// One team.
    Team,
    /// What it may call.
    TeamAccess,
    /// What its developers may do without asking.
    TeamSelfService,
    /// Its people.
    TeamMembers,
    /// One of them.
    TeamMember,
    /// Its service accounts.
    ServiceAccounts,
    /// One of them.
    ServiceAccount,
    /// Its keys.
    TeamKeys,
    /// What it used.
    TeamUsage,
    /// One key.
    Key,
    /// A new secret for it.
    KeyRotation,
    /// What it used.
    KeyUsage,
    /// The audit.
    Audit,
}

impl Endpoint {
    /// Which records the first id of its path is one of.
    pub fn section(self) -> Option<Section> {
        match self {
            Endpoint::Me | Endpoint::Targets | Endpoint::Organizations | Endpoint::Audit => None,
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
            | Endpoint::ServiceAccounts
            | Endpoint::ServiceAccount
            | Endpoint::TeamKeys
            | Endpoint::TeamUsage => Some(Section::Teams),
            Endpoint::Key | Endpoint::KeyRotation | Endpoint::KeyUsage => Some(Section::Keys),
        }
    }
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRoute {
    /// What it is.
    pub place: Endpoint,
    /// Its path below the prefix; names in braces stand for ids.
    pub template: &'static str,
    /// What it takes.
    pub methods: &'static [HttpMethod],
}

const fn endpoint(place: Endpoint, template: &'static str, methods: &'static [HttpMethod]) -> EndpointRoute {
    EndpointRoute { place, template, methods }
}

use HttpMethod::{Delete, Get, Patch, Post, Put};

/// All of them. A path fits one at most.
pub const ENDPOINTS: &[EndpointRoute] = &[
    endpoint(Endpoint::Me, "/me", &[Get]),
    endpoint(Endpoint::Targets, "/targets", &[Get]),
    endpoint(Endpoint::Organizations, "/organizations", &[Get, Post]),
    endpoint(Endpoint::Organization, "/organizations/{organization}", &[Get, Patch, Delete]),
    endpoint(Endpoint::OrganizationUsage, "/organizations/{organization}/usage", &[Get]),
    endpoint(Endpoint::OrganizationMembers, "/organizations/{organization}/members", &[Get]),
    endpoint(
        Endpoint::OrganizationMember,
        "/organizations/{organization}/members/{user}",
        &[Get, Put, Delete],
    ),
    endpoint(Endpoint::OrganizationTeams, "/organizations/{organization}/teams", &[Get, Post]),
    endpoint(Endpoint::Team, "/teams/{team}", &[Get, Patch, Delete]),
    endpoint(Endpoint::TeamAccess, "/teams/{team}/access", &[Get, Put]),
    endpoint(Endpoint::TeamSelfService, "/teams/{team}/self-service", &[Get, Put]),
    endpoint(Endpoint::TeamMembers, "/teams/{team}/members", &[Get]),
    endpoint(Endpoint::TeamMember, "/teams/{team}/members/{user}", &[Get, Put, Delete]),
    endpoint(Endpoint::ServiceAccounts, "/teams/{team}/service-accounts", &[Get]),
    endpoint(Endpoint::ServiceAccount, "/teams/{team}/service-accounts/{account}", &[Get, Put, Delete]),
    endpoint(Endpoint::TeamKeys, "/teams/{team}/keys", &[Get, Post]),
    endpoint(Endpoint::TeamUsage, "/teams/{team}/usage", &[Get]),
    endpoint(Endpoint::Key, "/keys/{key}", &[Get, Patch, Delete]),
    endpoint(Endpoint::KeyRotation, "/keys/{key}/rotate", &[Post]),
    endpoint(Endpoint::KeyUsage, "/keys/{key}/usage", &[Get]),
    endpoint(Endpoint::Audit, "/audit", &[Get]),
];

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointMatch {
    /// What stands there.
    pub place: Endpoint,
    /// What is to be done with it.
    pub method: HttpMethod,
    /// The ids in the path, in order; empty where there are fewer.
    pub ids: [String; 2],
}

/// Finds the endpoint of a request.
///
/// # Errors
/// 404 where nothing stands there, 405 with `Allow` where it does not take the method.
pub fn find(method: &str, path: &str) -> Result<EndpointMatch, Problem> {
    let found = ENDPOINTS.iter().find_map(|endpoint| Some((endpoint, ids(endpoint.template, path)?)));
    let Some((endpoint, ids)) = found else {
        return Err(Problem::new(404, "not_found", "The management API has nothing at this path."));
    };
    match HttpMethod::named(method).filter(|method| endpoint.methods.contains(method)) {
        Some(method) => Ok(EndpointMatch { place: endpoint.place, method, ids }),
        None => {
            let allow: Vec<&str> = endpoint.methods.iter().map(|method| method.name()).collect();
            let allow = allow.join(", ");
            let detail = format!("This takes {allow} only.");
            Err(Problem::new(405, "method_not_allowed", detail).with("allow", allow))
        }
    }
}

/// The ids that a path has where the template has names; `None`: it is another path.
fn ids(template: &str, path: &str) -> Option<[String; 2]> {
    let mut ids = [const { String::new() }; 2];
    let mut places = ids.iter_mut();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            *places.next()? = decode(segment).filter(|id| !id.is_empty())?.to_string();
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
    fn a_path_leads_to_its_endpoint_with_its_ids_decoded() {
        let found = find("PUT", "/teams/search/members/bob%40acme.example").unwrap();
        assert_eq!(found.place, Endpoint::TeamMember);
        assert_eq!(found.ids, ["search".to_string(), "bob@acme.example".to_string()]);
        assert_eq!(find("HEAD", "/me").unwrap().method, HttpMethod::Get);
        for path in ["", "/", "/teams", "/teams/", "/teams/a/", "/teams/a/keys/b", "/me/x", "me"] {
            assert_eq!(find("GET", path).unwrap_err().status, 404, "{path}");
        }
    }

    #[test]
    fn a_method_that_is_not_taken_is_told_which_are() {
        let problem = find("POST", "/teams/search").unwrap_err();
        assert_eq!(problem.status, 405);
        assert_eq!(problem.fields, [("allow", "GET, PATCH, DELETE".to_string())]);
    }
}
