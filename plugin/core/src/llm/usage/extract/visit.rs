//! The events of the documents of a response.

use core::convert::Infallible;

use super::{
    Details, ERROR, FAILED, MODALITIES, NAME_BYTES, NO_FIELDS, NUMBER_BYTES, UsageExtractor, UsageMember,
};
use crate::json::lexer::{Container, JsonText, Scalar, Visitor};
use crate::llm::dialect::Figure;
use crate::llm::usage::Usage;
use crate::llm::usage::details::NamePlace;
use crate::llm::usage::figures::{Figures, count, value};

impl Visitor for UsageExtractor {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.reached = offset;
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other member is skipped")]
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        let member = core::mem::take(&mut self.member);
        if depth == 0 && kind == Container::Array && self.format.in_list {
            self.base = 2;
        }
        match (member, kind) {
            (UsageMember::Usage, Container::Object) => {
                self.usage = Some(depth + 1);
                // The usage within a wrapper is that of a message's begin (Anthropic).
                let begins = self.format.largest_counts && self.wrapped;
                self.replaces = core::mem::replace(&mut self.seen_usage, true) || begins;
            }
            (UsageMember::Wrapper, Container::Object) => self.wrapped = true,
            (UsageMember::List, Container::Array) => self.listed = true,
            (UsageMember::Error, Container::Object) => self.failed = true,
            _ => {}
        }
        if self.usage == Some(depth) {
            self.details = self.named.take().or(Some(Details::Fields(NO_FIELDS)));
            match self.details {
                Some(Details::Passes) => self.not_included = Usage::default(),
                Some(Details::Modalities(names)) => {
                    MODALITIES
                        .iter()
                        .filter_map(|kind| names.get(kind))
                        .for_each(|figure| self.figures.clear(figure));
                }
                Some(Details::Fields(_)) | None => {}
            }
        } else if self.is_entry(depth) {
            self.pass = (Figures::default(), false);
            self.modality = (None, 0);
        }
        self.figure = None;
        if let Some(response) = &mut self.response {
            response.begin(depth, kind);
        }
        Ok(())
    }

    fn end(&mut self, depth: usize, _: Container) -> Result<(), Infallible> {
        if let Some(response) = &mut self.response {
            response.end(depth);
        }
        if self.is_entry(depth) && matches!(self.details, Some(Details::Modalities(_))) {
            self.add_modality();
        } else if self.is_pass(depth) {
            if let (figures, true) = &self.pass {
                self.not_included = self.not_included.plus(figures.usage(self.dialect).unwrap_or_default());
            }
        } else if self.usage == Some(depth + 1) {
            self.usage = None;
        } else if self.usage == Some(depth) {
            self.details = None;
        }
        if depth == self.base {
            self.wrapped = false;
            self.listed = false;
        }
        Ok(())
    }

    fn name_bytes(&self, _: usize) -> usize {
        NAME_BYTES
    }

    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        let text = if name.whole { name.text } else { "" };
        self.name_end = self.reached;
        self.figure = None;
        self.named = None;
        self.member = UsageMember::Other;
        if self.response.is_some() {
            let place = NamePlace {
                depth,
                is_outer: self.is_outer(depth),
                is_own: depth == self.base,
                usage: self.usage,
                base: self.base,
                streamed: self.streamed,
            };
            if let Some(response) = &mut self.response {
                response.name(place, text);
            }
        }
        if let Some(usage) = self.usage {
            self.figure = match self.details {
                None if depth == usage => {
                    let field = self.format.fields.get(text);
                    // Perplexity's cost is an object.
                    if matches!(field, None | Some(Figure::Cost)) {
                        self.named = Some(self.format.details(text));
                    }
                    field
                }
                Some(Details::Passes) if depth == usage + 2 => {
                    if text == "type" {
                        self.member = UsageMember::PassType;
                    }
                    self.format.fields.get(text)
                }
                Some(Details::Fields(fields)) if depth == usage + 1 => fields.get(text),
                Some(Details::Modalities(_)) if depth == usage + 2 => {
                    self.member = match text {
                        "modality" => UsageMember::Modality,
                        "tokenCount" => UsageMember::ModalityTokens,
                        _ => UsageMember::Other,
                    };
                    None
                }
                _ => None,
            };
            return Ok(());
        }
        self.member = self.meaning(depth, text);
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        match (self.figure, self.member) {
            (Some(_), _) => NUMBER_BYTES,
            (
                None,
                UsageMember::Type
                | UsageMember::PassType
                | UsageMember::Modality
                | UsageMember::ModalityTokens
                | UsageMember::Error
                | UsageMember::Status
                | UsageMember::Object,
            ) => NAME_BYTES,
            _ if self.response.as_ref().is_some_and(|response| response.reads_text()) => NAME_BYTES,
            _ => 0,
        }
    }

    fn scalar(&mut self, depth: usize, scalar: Scalar<'_>) -> Result<(), Infallible> {
        if let Some(response) = &mut self.response {
            response.scalar(depth, scalar);
        }
        match (core::mem::take(&mut self.member), self.figure.take(), scalar) {
            (_, Some(figure), Scalar::Number(text) | Scalar::String(text)) if text.whole => {
                if let Some(value) = value(figure, text.text) {
                    self.set_figure(figure, value);
                }
            }
            (UsageMember::Modality, _, Scalar::String(text)) if text.whole => {
                if let Some(Details::Modalities(names)) = self.details {
                    self.modality.0 = names.get(text.text);
                }
            }
            (UsageMember::ModalityTokens, _, Scalar::Number(text) | Scalar::String(text)) if text.whole => {
                self.modality.1 = count(text.text).unwrap_or(0);
            }
            (UsageMember::Type, _, Scalar::String(text)) if text.whole => {
                self.last |= self.format.last_events.contains(text.text.as_bytes());
                self.failed |= self.format.failed_events.contains(text.text.as_bytes());
            }
            (UsageMember::Error, _, Scalar::String(text)) => {
                self.failed |= !text.whole || !text.text.is_empty()
            }
            (UsageMember::Status, _, Scalar::String(text)) => self.failed |= text.is(FAILED),
            (UsageMember::Object, _, Scalar::String(text)) => self.failed |= text.is(ERROR),
            (UsageMember::PassType, _, Scalar::String(text)) => {
                self.pass.1 = text.whole
                    && self
                        .format
                        .passes
                        .as_ref()
                        .is_some_and(|passes| passes.not_included.contains(text.text.as_bytes()))
            }
            // Three bytes between name and text are not output: a colon and two quotes, in compact JSON.
            (UsageMember::Output, _, Scalar::String(_)) => {
                let bytes = self.reached.saturating_sub(self.name_end).saturating_sub(3);
                self.saw_output(bytes.min(1), bytes);
            }
            _ => {}
        }
        Ok(())
    }
}
