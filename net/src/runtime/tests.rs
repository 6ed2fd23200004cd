//! Endpoints on glommio executors: with tokio, with each other, and how they end.

use std::sync::mpsc;

use bytes::Bytes;
use rama_io::glommio::{GlommioEnv, Pin, Pool, PoolConfig};
use rama_io::{Category, Env};
use rama_wire::session::{Role, StreamHeader};

use crate::testing::{World, on_tokio};
use crate::{Dial, Endpoint, EndpointConfig, Lost, StreamError};

fn pool_config(executors: usize) -> PoolConfig {
    PoolConfig {
        executors,
        pin: Pin::Unpinned,
        ..PoolConfig::default()
    }
}

/// An endpoint on this executor that answers every message with itself.
fn echo(env: &GlommioEnv, config: EndpointConfig) -> Endpoint {
    let endpoint = Endpoint::on_glommio(env, Category::Client, config).unwrap();
    let (accepting, spawner) = (endpoint.clone(), env.clone());
    env.spawn(Category::Client, async move {
        while let Some(mut accepted) = accepting.accept().await {
            spawner.spawn(Category::Client, async move {
                while let Ok(Some(message)) = accepted.receiver.recv().await {
                    if accepted.sender.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    endpoint
}

/// A glommio executor that echoes until it is told to stop, in the way it is told.
struct Server {
    pool: Pool<()>,
    dial: Dial,
    stop: async_stop::Stop,
}

/// How a server stops.
enum How {
    /// It closes its endpoint.
    Close,
    /// Its executor ends, with everything on it.
    End,
    /// It stops answering and stays until the other end of this is dropped: what a process that
    /// was killed looks like.
    Die(mpsc::Receiver<()>),
}

mod async_stop {
    //! A word from the test's thread to an executor.

    use super::How;
    use rama_io::glommio::{GlommioReceiver, GlommioSender, GlommioTransport};
    use rama_io::{Receiver, Sender, Transport};

    pub(super) struct Stop(GlommioSender<How>);
    pub(super) struct Stopped(GlommioReceiver<How>);

    pub(super) fn pair() -> (Stop, Stopped) {
        let (sender, receiver) = GlommioTransport.channel();
        (Stop(sender), Stopped(receiver))
    }

    impl Stop {
        pub(super) fn now(&self, how: How) {
            self.0.send(how).ok().unwrap();
        }
    }

    impl Stopped {
        pub(super) async fn wait(&mut self) -> How {
            self.0.recv().await.unwrap()
        }
    }
}

impl Server {
    fn start(config: EndpointConfig) -> Server {
        let (stop, stopped) = async_stop::pair();
        let role = config.role;
        let (address_sender, address) = mpsc::channel();
        let start = std::sync::Arc::new(std::sync::Mutex::new(Some((config, stopped))));
        let pool = Pool::start(pool_config(1), move |env, _| {
            let (start, address) = (start.clone(), address_sender.clone());
            async move {
                let (config, mut stopped) = start.lock().unwrap().take().unwrap();
                let endpoint = echo(&env, config);
                address.send(endpoint.local_address().unwrap()).unwrap();
                match stopped.wait().await {
                    How::Close => endpoint.close().await,
                    How::End => {}
                    How::Die(through) => {
                        // Nothing else of this executor runs until the test is through.
                        let _ = through.recv();
                    }
                }
            }
        });
        Server {
            pool: pool.unwrap(),
            dial: Dial::role(address.recv().unwrap(), role),
            stop,
        }
    }
}

async fn messages_return(client: &Endpoint, dial: &Dial) {
    let (sender, mut receiver) = client.open(dial, &StreamHeader::Rpc).await.unwrap();
    for len in [0, 1, 100, 5_000, 100_000, 3_000_000] {
        let message = Bytes::from(vec![len as u8; len]);
        sender.send(message.clone()).await.unwrap();
        assert!(receiver.recv().await.unwrap().unwrap() == message);
    }
    assert_eq!(sender.close().await, Ok(()));
    assert_eq!(receiver.recv().await, Ok(None));
}

#[test]
fn a_tokio_client_speaks_to_a_glommio_server_which_closes_in_order() {
    let world = World::new();
    let server = Server::start(world.config(Role::Worker));
    on_tokio(async {
        let client = world.endpoint(Role::Client);
        messages_return(&client, &server.dial).await;
        let stream = client.open(&server.dial, &StreamHeader::Rpc).await;
        let (_sender, mut receiver) = stream.unwrap();
        server.stop.now(How::Close);
        let lost = receiver.recv().await;
        assert_eq!(lost, Err(StreamError::Lost(Lost::ClosedByPeer)));
    });
    server.pool.join().unwrap();
}

#[test]
fn executors_speak_to_each_other_and_to_a_tokio_server() {
    let world = World::new();
    let (tokio_address, tokio_dial) = mpsc::channel();
    let (done, over) = tokio::sync::oneshot::channel::<()>();
    let config = world.config(Role::Conductor);
    let tokio_server = std::thread::spawn(move || {
        on_tokio(async {
            let server = Endpoint::on_tokio(config).unwrap();
            tokio::spawn(crate::endpoint::tests::echo(server.clone()));
            let address = server.local_address().unwrap();
            tokio_address.send(address).unwrap();
            let _ = over.await;
        });
    });
    let tokio_dial = Dial::role(tokio_dial.recv().unwrap(), Role::Conductor);
    let server = Server::start(world.config(Role::Worker));
    let start = std::sync::Arc::new(std::sync::Mutex::new(Some((
        world.config(Role::Client),
        [server.dial.clone(), tokio_dial],
    ))));
    let clients = Pool::start(pool_config(1), move |env, _| {
        let start = start.clone();
        async move {
            let (config, dials) = start.lock().unwrap().take().unwrap();
            let client = Endpoint::on_glommio(&env, Category::Client, config).unwrap();
            for dial in &dials {
                messages_return(&client, dial).await;
            }
            client.close().await;
        }
    });
    clients.unwrap().join().unwrap();
    done.send(()).unwrap();
    tokio_server.join().unwrap();
    server.stop.now(How::Close);
    server.pool.join().unwrap();
}

/// The executor ends with the endpoint, its connections and streams on it: no panic, and the peer
/// learns it by silence.
#[test]
fn an_executor_that_ends_takes_its_endpoint_along() {
    let world = World::new();
    let server = Server::start(world.impatient(Role::Worker));
    on_tokio(async {
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let stream = client.open(&server.dial, &StreamHeader::Rpc).await;
        let (sender, mut receiver) = stream.unwrap();
        sender.send("a").await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "a");
        server.stop.now(How::End);
        server.pool.join().unwrap();
        let end = receiver.recv().await;
        assert!(matches!(end, Err(StreamError::Lost(_))), "{end:?}");
    });
}

/// A server that is dead to the world is found by its glommio client and by its tokio client.
#[test]
fn a_dead_executor_is_found_by_silence() {
    let world = World::new();
    let server = Server::start(world.impatient(Role::Worker));
    let (life, death) = mpsc::channel();
    let (ready_sender, ready) = mpsc::channel();
    let start = std::sync::Arc::new(std::sync::Mutex::new(Some((
        world.impatient(Role::Client),
        server.dial.clone(),
    ))));
    let glommio = Pool::start(pool_config(1), move |env, _| {
        let (start, ready) = (start.clone(), ready_sender.clone());
        async move {
            let (config, dial) = start.lock().unwrap().take().unwrap();
            let client = Endpoint::on_glommio(&env, Category::Client, config).unwrap();
            let connection = client.connect(&dial).await.unwrap();
            ready.send(()).unwrap();
            connection.lost().await
        }
    });
    on_tokio(async {
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let connection = client.connect(&server.dial).await.unwrap();
        ready.recv().unwrap();
        server.stop.now(How::Die(death));
        assert_eq!(connection.lost().await, Lost::TimedOut);
    });
    assert_eq!(glommio.unwrap().join().unwrap(), [Lost::TimedOut]);
    drop(life);
    server.pool.join().unwrap();
}
