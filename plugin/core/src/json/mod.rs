//! JSON as it arrives: in pieces.
