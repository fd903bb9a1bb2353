//! A policy put together from a document, entry by entry.

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

/// Puts a policy together.
#[derive(Debug, Default)]
pub struct Resolver {
    policy: Policy,
    order: SourceMap,
    /// Targets that routes name, and where.
    routes: Vec<(TargetId, String)>,
}

impl Resolver {
    /// Takes one record of a section; the report stands at its place.
    pub fn entry(&mut self, section: Section, id: &str, node: Node, report: &mut Diagnostics) {
        let Some(read) = self.policy.read(section, id, node, report) else {
            let position = self.policy.reserve(section, id);
            return self.order.keep_unread(section, position);
        };
        if self.policy.has(section, read.position) {
            report.error(DiagnosticKind::Duplicate);
            return;
        }
        self.order.keep(&self.policy, section, read.position, read.listing, read.all);
        self.policy.replace(section, read.position, Some(read.row));
    }

    /// `unpriced`.
    pub fn unpriced(&mut self, unpriced: Unpriced) {
        self.policy.unpriced = unpriced;
    }

    /// Reserves a target's position for a route.
    pub fn mention_target(&mut self, name: &str, pointer: String) -> TargetId {
        let target = TargetId(self.policy.targets.reserve(name));
        self.routes.push((target, pointer));
        target
    }

    /// The index, after all that spans several records is checked. `base` is where the policy stands in
    /// its document.
    pub fn finish(mut self, base: &str, report: &mut Diagnostics) -> Policy {
        let targets = &self.policy.targets;
        for (target, pointer) in self.routes {
            if targets.get(target.0).is_none() && !self.order.is_unread(Section::Targets, target.0) {
                let id = targets.name(target.0).to_string();
                report.error_at(pointer, DiagnosticKind::Unknown { kind: "target", id });
            }
        }
        Validator::new(&self.policy, &self.order, base, report).whole();
        self.policy.shrink();
        self.policy
    }
}
