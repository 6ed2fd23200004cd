//! Reads by names and JSON: what HTTP and the command line use. Appends are in `depot`.
//!
//! Relies on the definition's erased codecs and on compiled JSON paths. What must stay true: a JSON
//! path answers what the typed path to the same place answers.

use std::ops::Range;

use serde_json::Value;

use super::depot;
use super::proxy::{self, Proxy};
use super::pstate::{route, select_plan};
use super::watch::{self, Watch};
use crate::cluster::{Cluster, Running};
use crate::error::{Error, ErrorKind, Result};
use crate::json_path::{self, JsonSelect};
use crate::message::ClientRequest;

impl Cluster {
    /// First available and next offset of a depot partition (D-24).
    ///
    /// # Errors
    /// As [`crate::DepotClient::partition_info`].
    pub async fn depot_partition(
        &self,
        module: &str,
        depot: &str,
        partition: u32,
    ) -> Result<Range<u64>> {
        let (running, index) = self.depot_of(Some(module), depot)?;
        depot::partition_info(&running, index, partition).await
    }

    /// Records of a depot partition as JSON (D-25).
    ///
    /// # Errors
    /// As [`crate::DepotClient::read`].
    pub async fn read_json(
        &self,
        module: &str,
        name: &str,
        partition: u32,
        offsets: Range<u64>,
    ) -> Result<Vec<Value>> {
        let (running, index) = self.depot_of(Some(module), name)?;
        let to_json = running.layout.definition.depots[usize::from(index)]
            .record
            .to_json;
        let records = depot::read(&running, index, partition, offsets).await?;
        let decode = |bytes: &Vec<u8>| {
            to_json(bytes).map_err(|error| {
                let text = format!("could not read a record of {name} of {module}");
                Error::new(ErrorKind::Corrupt, text).caused_by(error)
            })
        };
        records.iter().map(decode).collect()
    }

    /// What a JSON path leads to, as committed (P-32): each navigated value is one result.
    ///
    /// # Errors
    /// `Invalid` when the path does not fit the PState; otherwise as
    /// [`crate::PStateClient::select`].
    pub async fn select_json(&self, module: &str, name: &str, path: &Value) -> Result<Vec<Value>> {
        let (running, pstate) = self.pstate_of(Some(module), name)?;
        let select = compile(&running, pstate, path)?;
        let task = route(&running, pstate, select.route())?;
        let answer = select_plan(&running, pstate, task, select.plan().clone()).await?;
        results(&select, name, &answer)
    }

    /// Follows a JSON path to one value with a proxy (P-38).
    ///
    /// # Errors
    /// `Invalid` when the path does not fit the PState or leads to several values; otherwise as
    /// [`crate::PStateClient::proxy`].
    pub async fn proxy_json(
        &self,
        module: &str,
        name: &str,
        path: &Value,
    ) -> Result<Proxy<Value, Value, Value>> {
        let (running, pstate) = self.pstate_of(Some(module), name)?;
        let select = compile(&running, pstate, path)?;
        let following = json_path::following(select, name).map_err(|error| {
            Error::invalid(format!("could not follow the path {path} in {name}")).caused_by(error)
        })?;
        proxy::open(self.clone(), Some(module.to_owned()), None, following).await
    }

    /// Follows a JSON path: its results now, and again after each commit that changed them.
    ///
    /// # Errors
    /// As [`Cluster::select_json`]; later failures come through the stream.
    pub fn watch_json(&self, module: &str, name: &str, path: &Value) -> Result<Watch<Vec<Value>>> {
        let (running, pstate) = self.pstate_of(Some(module), name)?;
        let select = compile(&running, pstate, path)?;
        let task = route(&running, pstate, select.route())?;
        let (plan, name) = (select.plan().clone(), name.to_owned());
        let decode = move |answer: &[u8]| results(&select, &name, answer);
        let (subscription, watch) = watch::pair(&plan, Box::new(decode));
        running.post(
            task,
            ClientRequest::Follow {
                task,
                pstate,
                plan,
                subscription,
            },
        )?;
        Ok(watch)
    }
}

fn compile(running: &Running, pstate: u16, path: &Value) -> Result<JsonSelect> {
    let definition = &running.layout.definition.pstates[usize::from(pstate)];
    let functions = &running.layout.definition.functions;
    json_path::compile_with(&definition.schema, functions, path).map_err(|error| {
        let (name, module) = (&definition.name, &running.layout.module);
        Error::invalid(format!(
            "could not follow the path {path} in {name} of {module}"
        ))
        .caused_by(error)
    })
}

fn results(select: &JsonSelect, name: &str, answer: &[u8]) -> Result<Vec<Value>> {
    select.results(answer).map_err(|error| {
        Error::new(
            ErrorKind::Corrupt,
            format!("could not read what {name} answered"),
        )
        .caused_by(error)
    })
}
