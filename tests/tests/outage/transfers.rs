//! Transfers between accounts of `Bank`, from several clients at once, while processes die.
//!
//! Relies on an id of a payer being one transfer: whoever does not know whether it was taken asks again
//! with the same id, over another way. What must stay true: every call is recorded; a client goes on
//! only when its transfer is known to be taken or known to be refused; balances are read all the time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bank::{DEPOSITS, Deposit, FUNDS, INCOMING, OUTGOING, TRANSFERS, Transfer};
use rama_runtime::{AckLevel, DepotClient, ModuleClient};
use rama_tests::history::bank::{Books, balances, is_possible};
use rama_tests::history::depot::{Place, is_in_order, is_taken_once};
use rama_tests::history::session::{Step, sees_its_own};
use rama_tests::history::{Clock, Outcome, Recorder, save, verdict};
use rama_tests::random::Random;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::asker::{Asker, Refusals, Trouble};
use crate::books::contents;
use crate::world::World;

/// Accounts; more than there are tasks.
const ACCOUNTS: u64 = 16;
/// What each begins with: little enough that payers run out of it.
const DEPOSIT_CENTS: i64 = 1_000;
/// Clients; the odd ones over HTTP.
const CLIENTS: u64 = 6;
/// Between two transfers of a client.
const PAUSE: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(180);
const APPEND: &str = "/rest/Bank/depot/transfers/append";

/// The bank's clients.
#[derive(Clone)]
pub struct Clients {
    module: ModuleClient,
    asker: Asker,
    supervisors: Vec<SocketAddr>,
    refusals: Refusals,
    /// Calls, by the text that [`name`] makes of a transfer and the number of the call.
    calls: Recorder<String, Option<Place>>,
    /// How many transfers of an account are booked, as it was read.
    steps: Recorder<Step, u64>,
}

/// A transfer's text: the same for each call that asks for it.
fn name(transfer: &Transfer) -> String {
    format!(
        "{} {} {} {}",
        transfer.from, transfer.id, transfer.to, transfer.cents
    )
}

impl Clients {
    /// Deposits for all accounts, and nothing else yet.
    pub fn new(world: &World, module: ModuleClient) -> Clients {
        let clock = Clock::default();
        let clients = Clients {
            module,
            asker: world.client(),
            supervisors: world.supervisor_addresses(),
            refusals: Refusals::default(),
            calls: Recorder::new(&clock),
            steps: Recorder::new(&clock),
        };
        for user in 0..ACCOUNTS {
            let cents = DEPOSIT_CENTS;
            let deposit = clients.module.depot(DEPOSITS);
            let deposit = deposit.append_with(&Deposit { user, cents }, AckLevel::AppendAck);
            world.runtime().block_on(deposit).expect("a deposit");
        }
        clients
    }

    /// Lets clients transfer for as long as `nemesis` takes.
    pub fn transfer(&self, runtime: &Handle, (round, seed): (u64, u64), nemesis: impl FnOnce()) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loops = JoinSet::new();
        for client in 0..CLIENTS {
            let (clients, stop) = (self.clone(), stop.clone());
            let random = Random(seed ^ (round << 32) ^ client);
            let transfers = async move { clients.client(client, round, random, &stop).await };
            loops.spawn_on(transfers, runtime);
        }
        let (clients, until) = (self.clone(), stop.clone());
        let random = Random(seed ^ (round << 32) ^ CLIENTS);
        let read = async move { clients.read(random, &until).await };
        let read = runtime.spawn(read);
        nemesis();
        stop.store(true, Ordering::Relaxed);
        let wrong = runtime.block_on(async {
            while let Some(ended) = loops.join_next().await {
                ended.expect("a client ends well");
            }
            read.await.expect("the reader ends well")
        });
        verdict(
            "W5, every balance is between nothing and all there is",
            &wrong,
        );
    }

    /// Reads balances, and how many transfers are booked, of one account after the other; what cannot
    /// be.
    async fn read(&self, mut random: Random, stop: &AtomicBool) -> Vec<String> {
        let (funds, booked) = (self.module.pstate(FUNDS), self.module.pstate(OUTGOING));
        let in_all = DEPOSIT_CENTS * ACCOUNTS as i64;
        let mut wrong = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let account = random.below(ACCOUNTS);
            if let Ok(balance) = funds.select_one(FUNDS.key(&account)).await {
                wrong.extend(is_possible(account, balance.unwrap_or_default(), in_all));
            }
            let step = self.steps.call(account as u32, Step::Read);
            let count = booked.select(OUTGOING.key(&account).select_len()).await;
            self.steps
                .returned(step, count.map_or(Outcome::Unknown, Outcome::Ok));
            tokio::time::sleep(PAUSE).await;
        }
        wrong
    }

    /// Waits until every transfer is booked, and checks W1, W2, W5 and W7.
    pub fn check(&self, world: &World, keep: &Path) {
        let runtime = world.runtime();
        let (calls, steps) = (self.calls.history(), self.steps.history());
        save(&keep.join("transfers.jsonl"), &calls);
        save(&keep.join("booked.jsonl"), &steps);
        let depot = self.module.depot(TRANSFERS);
        let texts = runtime.block_on(contents(&depot, |transfer| name(&transfer)));
        verdict(
            "W1, each transfer is taken once",
            &is_taken_once(&calls, &texts),
        );
        verdict(
            "W2, transfers of a payer keep their order",
            &is_in_order(&calls, &texts),
        );
        let transfers: Vec<Transfer> = runtime.block_on(self.transfers(&depot));
        let (start, end) = (Instant::now(), Instant::now() + PATIENCE);
        let wrong = loop {
            let books = runtime.block_on(self.books());
            let wrong = balances(&books, &transfers);
            if wrong.is_empty() || Instant::now() > end {
                break wrong;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        verdict("W5, the books are right", &wrong);
        verdict("W7, what was booked stays so", &sees_its_own(&steps));
        println!("all is booked after {:.1} s", start.elapsed().as_secs_f64());
        let (all, booked) = (calls.len(), texts.distinct());
        println!(
            "{all} calls, {booked} transfers, {} reads; not done or unknown:",
            steps.len()
        );
        print!("{}", self.refusals.take());
    }

    async fn transfers(&self, depot: &DepotClient<Transfer>) -> Vec<Transfer> {
        let mut all = Vec::new();
        for partition in 0..depot.partitions().expect("a depot") {
            let offsets = depot.partition_info(partition).await.expect("its offsets");
            all.extend(depot.read(partition, offsets).await.expect("its records"));
        }
        all
    }

    async fn books(&self) -> Books {
        let mut books = Books::default();
        let (funds, sent, got) = (
            self.module.pstate(FUNDS),
            self.module.pstate(OUTGOING),
            self.module.pstate(INCOMING),
        );
        for account in 0..ACCOUNTS {
            let balance = funds
                .select_one(FUNDS.key(&account))
                .await
                .expect("a balance");
            books.deposits.insert(account, DEPOSIT_CENTS);
            books.funds.insert(account, balance.unwrap_or_default());
            let sent = sent.select(OUTGOING.key(&account).all()).await;
            books
                .outgoing
                .insert(account, sent.expect("transfers").into_iter().collect());
            let got = got.select(INCOMING.key(&account).all()).await;
            books
                .incoming
                .insert(account, got.expect("transfers").into_iter().collect());
        }
        books
    }

    /// One client: random transfers, one after the other.
    async fn client(&self, client: u64, round: u64, mut random: Random, stop: &AtomicBool) {
        // Each client pays from an account of its own, so that its transfers have an order.
        let (from, by_http) = (client, client % 2 == 1);
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let transfer = Transfer {
                id: format!("{round}-{number}"),
                from,
                to: random.below(ACCOUNTS),
                cents: 1 + random.below(300) as i64,
            };
            number += 1;
            self.make(&transfer, by_http, number as usize).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks until it is known what became of a transfer. The first call goes one way, the next ones go
    /// the other.
    async fn make(&self, transfer: &Transfer, by_http: bool, mut at: usize) {
        let process = transfer.from as u32;
        let mut over = by_http;
        loop {
            let called = self.calls.call(process, name(transfer));
            let outcome = match over {
                true => self.over_http(transfer, at).await,
                false => self.typed(transfer).await,
            };
            self.calls.returned(called, outcome);
            match outcome {
                Outcome::Ok(_) => return,
                Outcome::Failed | Outcome::Unknown => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            (over, at) = (!over, at + 1);
        }
    }

    async fn typed(&self, transfer: &Transfer) -> Outcome<Option<Place>> {
        let depot = self.module.depot(TRANSFERS);
        match depot.append_with(transfer, AckLevel::AppendAck).await {
            Ok(appended) => Outcome::Ok(appended.offset.map(|offset| Place {
                partition: appended.partition,
                offset,
            })),
            Err(error) => self.refusals.note(Trouble::from(&error)),
        }
    }

    async fn over_http(&self, transfer: &Transfer, at: usize) -> Outcome<Option<Place>> {
        let Transfer {
            id,
            from,
            to,
            cents,
        } = transfer;
        let data = json!({"id": id, "from": from, "to": to, "cents": cents});
        let body = json!({"data": data, "ackLevel": "appendAck"})
            .to_string()
            .into_bytes();
        let address = self.supervisors[at % self.supervisors.len()];
        match self
            .asker
            .ask(address, ("POST", APPEND), body, PATIENCE)
            .await
        {
            Ok(_) => Outcome::Ok(None),
            Err(trouble) => self.refusals.note(trouble),
        }
    }
}
