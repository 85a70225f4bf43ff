//! The two messages, field by field as in harepd's messages.proto.

/// The question: who asks. harepd only logs it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WhatYouKnow {
    /// Address of the node that asks
    #[prost(string, tag = "1")]
    pub ip: String,
    /// Its `node_id`; -1: unknown to itself
    #[prost(int32, tag = "2")]
    pub node_id: i32,
    /// Its name; harepd itself leaves it out
    #[prost(string, tag = "3")]
    pub node_name: String,
}

/// The answer: active nodes as the answering node's table has them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IKnow {
    /// Address of the answering node
    #[prost(string, tag = "1")]
    pub ip: String,
    /// Its `node_id`
    #[prost(int32, tag = "2")]
    pub node_id: i32,
    /// Its name
    #[prost(string, tag = "3")]
    pub node_name: String,
    /// Address of the witness
    #[prost(string, tag = "4")]
    pub witness: String,
    /// Addresses of standbys
    #[prost(string, repeated, tag = "5")]
    pub slaves: Vec<String>,
    /// Addresses of primaries
    #[prost(string, repeated, tag = "6")]
    pub master: Vec<String>,
}
