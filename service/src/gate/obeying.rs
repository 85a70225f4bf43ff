//! What an operator says, carried out between two rounds.

use goahead_rules::gate;
use tokio::sync::oneshot;

use super::Command;
use super::facts::role;
use super::orders;
use super::round::Rounds;
use super::snapshot::{Local, Order, Why};

impl Rounds {
    /// Carries out what an operator says; the answer comes after the round that follows. `known` is what the last round
    /// found.
    pub(super) async fn obey(
        &mut self,
        command: Command,
        known: Option<&Local>,
    ) -> Option<oneshot::Sender<Result<(), String>>> {
        let (done, answer) = match command {
            Command::Set(order, answer) => (self.set(order, known).await, answer),
            Command::Clear(actor, answer) => (self.clear(actor), answer),
        };
        match done {
            Ok(()) => Some(answer),
            Err(why) => {
                let _ = answer.send(Err(why));
                None
            }
        }
    }

    async fn set(&mut self, order: Order, known: Option<&Local>) -> Result<(), String> {
        let opens_rw = order.open && order.rw;
        if opens_rw {
            // Whoever promotes and orders in one breath is not told what was so a round ago.
            let found = self.facts.ask().await.local;
            let role = found.as_ref().or(known).map(role);
            gate::may_open_rw(self.settings.witness, role).map_err(|why| why.to_string())?;
        }
        self.orders.set(order.clone())?;
        let word = if order.open { "open" } else { "close" };
        tracing::warn!(
            actor = order.actor,
            reason = order.reason,
            rw = order.rw,
            ro = order.ro,
            "an operator orders: {word}"
        );
        let about = |door: bool| door.then_some(order.open);
        let why = Why { code: format!("operator_{word}"), text: order.reason.clone() };
        self.audit.write("gate_override", (about(order.rw), about(order.ro)), vec![why], Some(order.actor));
        Ok(())
    }

    fn clear(&mut self, actor: String) -> Result<(), String> {
        orders::given_by(&actor)?;
        if !self.orders.clear()? {
            return Err("there is no order to clear".to_owned());
        }
        tracing::warn!(actor, "an operator clears the order");
        let why = Why { code: "operator_clear".to_owned(), text: "the order is cleared".to_owned() };
        self.audit.write("gate_override", (None, None), vec![why], Some(actor));
        Ok(())
    }
}
