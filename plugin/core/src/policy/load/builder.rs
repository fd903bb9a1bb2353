//! Builds a policy from the records of a document.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::json::node::Node;
use crate::policy::change::Section;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::index::Policy;
use crate::policy::model::*;
use crate::policy::validate::references::Validator;
use crate::policy::validate::source_map::SourceMap;

/// The sections and fields of a policy document.
pub const FIELDS: &[&str] =
    &["version", "targets", "organizations", "teams", "users", "service_accounts", "keys", "unpriced"];

/// A policy under construction.
#[derive(Debug, Default)]
pub struct PolicyBuilder {
    policy: Policy,
    source_map: SourceMap,
    /// Targets named by routes, with the JSON Pointers of those routes.
    routes: Vec<(TargetId, String)>,
}

impl PolicyBuilder {
    /// Adds a record. Diagnostics are reported relative to the current pointer of `report`.
    pub fn entry(&mut self, section: Section, id: &str, node: Node, report: &mut Diagnostics) {
        let Some(read) = self.policy.read(section, id, node, report) else {
            let position = self.policy.reserve(section, id);
            return self.source_map.keep_unread(section, position);
        };
        if self.policy.has(section, read.position) {
            report.error(DiagnosticKind::Duplicate);
            return;
        }
        self.source_map.keep(&self.policy, section, read.position, read.source, read.all);
        self.policy.replace(section, read.position, Some(read.entity));
    }

    /// Sets `unpriced`.
    pub fn unpriced(&mut self, unpriced: Unpriced) {
        self.policy.unpriced = unpriced;
    }

    /// Reserves the position of a target that a route names; `pointer` is the route's.
    pub fn mention_target(&mut self, name: &str, pointer: String) -> TargetId {
        let target = TargetId(self.policy.targets.reserve(name));
        self.routes.push((target, pointer));
        target
    }

    /// Checks everything that involves several records and returns the policy. `base` is the JSON Pointer of the
    /// policy in its document.
    pub fn finish(mut self, base: &str, report: &mut Diagnostics) -> Policy {
        let targets = &self.policy.targets;
        for (target, pointer) in self.routes {
            if targets.get(target.0).is_none() && !self.source_map.is_unread(Section::Targets, target.0) {
                let id = targets.name(target.0).to_string();
                report.error_at(pointer, DiagnosticKind::Unknown { kind: "target", id });
            }
        }
        Validator::new(&self.policy, &self.source_map, base, report).check_all();
        self.policy.shrink();
        self.policy
    }
}
