//! One client's connection from CONNECT to its end. One task owns the socket, what is on its way in
//! and what is on its way out; it waits in one place only.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Sleep, sleep, timeout};

use crate::clock::Stopwatch;
use crate::config;
use crate::stop::Stop;

use super::decode::{self, Packet};
use super::encode;
use super::front::Deps;
use super::handshake::{self, Client, Refused};
use super::inbound::{Answer, Inbound, Verdict};
use super::io::Io;
use super::mailbox::Mailbox;
use super::outbound::{Batch, Outbound};
use super::reason::Reason;
use super::registry::{Place, Registry};
use super::router::Router;
use super::subscriptions::Subscriptions;
use super::wire::{Frame, Version};

/// How long a client may take nothing of what waits for it.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct House {
    pub(super) config: config::Mqtt,
    pub(super) deps: Deps,
    pub(super) router: Arc<Router>,
    pub(super) registry: Arc<Registry>,
    pub(super) stop: Stop,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said DISCONNECT.
    Left { with_will: bool },
    /// The client is gone.
    Lost,
    /// The hub ends it.
    Cut(Reason),
}

/// What woke the connection up.
enum Wake {
    Socket(std::io::Result<()>),
    Answers,
    Mailbox,
    Log(Batch),
    Alarm,
    Stop,
}

struct Session {
    house: Arc<House>,
    io: Io,
    client: Client,
    inbound: Inbound,
    outbound: Outbound,
    subscriptions: Subscriptions,
    mailbox: Arc<Mailbox>,
    _place: Place,
    alarm: Pin<Box<Sleep>>,
    woken: Pin<Box<OwnedNotified>>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Since the last packet came.
    heard: Stopwatch,
    /// Since the client last took something, or had nothing to take.
    taken: Stopwatch,
}

/// Serves one connection.
pub(super) async fn run(stream: TcpStream, house: Arc<House>) {
    let mut io = Io::new(stream);
    let limit = house.config.connect_timeout.0;
    let greeting = timeout(limit, handshake::greet(&mut io, &house.config, &house.deps.gate));
    let greeted = tokio::select! {
        greeted = greeting => greeted.unwrap_or(Err(Refused::Gone)),
        // Dropping the greeting loses nothing: nobody is connected yet.
        () = house.stop.wait() => return,
    };
    match greeted {
        Ok(client) => Box::new(Session::new(io, client, house)).run().await,
        Err(refused) => {
            house.deps.metrics.broker_refusals.inc();
            match refused {
                Refused::Gone => tracing::debug!("an MQTT connection ended before its CONNECT"),
                Refused::Told(reason) => tracing::debug!(?reason, "refused an MQTT connection"),
            }
            if timeout(FAREWELL, io.flush()).await.is_ok() {
                io.close().await;
            }
        }
    }
}

impl Session {
    fn new(io: Io, client: Client, house: Arc<House>) -> Self {
        let config = &house.config;
        let mailbox = Arc::new(Mailbox::new(client.publisher.identity.clone(), config.queue_max));
        let place = house.registry.enter(&client.id, &client.caller, &mailbox);
        let router = Arc::clone(&house.router);
        let filters_max = config.subscriptions_per_client_max;
        let subscriptions =
            Subscriptions::new(Arc::clone(&router), Arc::clone(&mailbox), filters_max);
        let reader = house.deps.reader.clone();
        let outbound = Outbound::new(Arc::clone(&mailbox), router, reader, client.window);
        let alarm = Box::pin(sleep(client.silence_max.unwrap_or(WRITE_STALL).min(WRITE_STALL)));
        let (woken, stopped) = (Box::pin(mailbox.woken()), Box::pin(house.stop.wait_owned()));
        let (heard, taken) = (Stopwatch::start(), Stopwatch::start());
        let (inbound, _place) = (Inbound::default(), place);
        Self {
            house,
            io,
            client,
            inbound,
            outbound,
            subscriptions,
            mailbox,
            _place,
            alarm,
            woken,
            stopped,
            heard,
            taken,
        }
    }

    async fn run(mut self: Box<Self>) {
        let end = self.serve().await;
        if let End::Cut(reason) = end {
            if !reason.is_ours() {
                self.house.deps.metrics.broker_refusals.inc();
            }
            tracing::debug!(client = %self.client.id, ?reason, "ended an MQTT connection");
        }
        let Self { house, mut io, client, mut inbound, subscriptions, _place, .. } = *self;
        drop((subscriptions, _place));
        settle(&mut io, &mut inbound, &client, &house, end).await;
        if let End::Cut(reason) = end {
            if client.version == Version::V5 {
                encode::disconnect(&mut io.output, reason);
            }
            if timeout(FAREWELL, io.flush()).await.is_ok() {
                io.close().await;
            }
        }
        let published = client.will.filter(|_| end != End::Left { with_will: false });
        if let Some(will) = published
            && house.deps.gate.still_valid(&client.caller)
            && let Err(error) = house.deps.ingest.publish(handshake::fresh(*will)).await
        {
            tracing::warn!(client = %client.id, %error, "could not publish a will");
        }
    }

    async fn serve(&mut self) -> End {
        loop {
            let step = match self.work().await {
                Ok(()) => {
                    let wake = self.wait().await;
                    self.take(wake)
                }
                Err(end) => Err(end),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Does all that can be done without waiting, at most one full output at a time, for as long as
    /// the client is welcome. (The registry's sweep is for connections on which nothing happens.)
    async fn work(&mut self) -> Result<(), End> {
        loop {
            if let Some(reason) = self.mailbox.cut_reason() {
                return Err(End::Cut(reason));
            }
            if !self.house.deps.gate.still_valid(&self.client.caller) {
                return Err(End::Cut(Reason::ADMINISTRATIVE));
            }
            self.decode()?;
            let metrics = &self.house.deps.metrics;
            let more = self.outbound.fill(&mut self.io.output, &self.client, metrics);
            let was_full = more || self.io.is_full();
            let idle = self.io.output.is_empty();
            if self.io.write().map_err(|_| End::Lost)? || idle {
                self.taken = Stopwatch::start();
            }
            if !was_full || self.io.is_full() {
                self.io.rest();
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the next thing to do. Every arm only waits, or keeps what it has in the session,
    /// so each may be dropped half-way. Those that seldom come are not registered anew each time.
    async fn wait(&mut self) -> Wake {
        let reading = self.may_read();
        let has_room = !self.io.is_full();
        tokio::select! {
            ready = self.io.ready(reading) => Wake::Socket(ready),
            () = self.inbound.answered(), if !self.inbound.is_empty() => Wake::Answers,
            () = self.woken.as_mut() => {
                self.woken.set(self.mailbox.woken());
                Wake::Mailbox
            }
            batch = self.outbound.read(), if has_room && self.outbound.wants_log() => {
                Wake::Log(batch)
            }
            () = self.alarm.as_mut() => Wake::Alarm,
            () = self.stopped.as_mut() => Wake::Stop,
        }
    }

    fn take(&mut self, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Socket(ready) => {
                ready.map_err(|_| End::Lost)?;
                if self.may_read() && !self.io.read().map_err(|_| End::Lost)? {
                    return Err(End::Lost);
                }
                Ok(())
            }
            Wake::Answers => {
                let answers = self.inbound.answers();
                answer(&mut self.io, answers, &self.client, &self.house).map_err(End::Cut)
            }
            Wake::Mailbox => Ok(()),
            Wake::Log(batch) => self.resume(batch),
            Wake::Alarm => self.ring(),
            Wake::Stop => Err(End::Cut(Reason::SHUTTING_DOWN)),
        }
    }

    /// Whether more may be taken from the socket: answers and messages have room.
    fn may_read(&self) -> bool {
        !self.io.is_full() && self.inbound.has_room(self.house.config.receive_maximum)
    }

    fn decode(&mut self) -> Result<(), End> {
        while self.may_read() {
            let size_max = self.house.config.packet_size_max.bytes();
            let frame = Frame::take(&mut self.io.input, size_max).map_err(End::Cut)?;
            let Some(frame) = frame else { break };
            self.heard = Stopwatch::start();
            let packet = decode::packet(&frame, self.client.version).map_err(End::Cut)?;
            self.handle(packet)?;
        }
        Ok(())
    }

    fn handle(&mut self, packet: Packet<'_>) -> Result<(), End> {
        let (deps, out) = (&self.house.deps, &mut self.io.output);
        let version = self.client.version;
        match packet {
            Packet::Publish(publish) => {
                deps.metrics.broker_messages_in.inc();
                let accepted = self.inbound.accept(&publish, &self.client, &deps.ingest);
                accepted.map_err(End::Cut)?;
            }
            Packet::PubAck(id) => self.outbound.acknowledged(id),
            Packet::Subscribe { id, filters } => {
                let grants = &self.client.caller.grants;
                let codes = self.subscriptions.subscribe(&filters, grants, version);
                encode::suback(out, version, id, codes);
            }
            Packet::Unsubscribe { id, filters } => {
                let reasons = self.subscriptions.unsubscribe(&filters);
                encode::unsuback(out, version, id, reasons);
            }
            Packet::PingReq => encode::pingresp(out),
            Packet::Disconnect { with_will } => return Err(End::Left { with_will }),
        }
        Ok(())
    }

    fn resume(&mut self, batch: Batch) -> Result<(), End> {
        let batch = batch.map_err(|error| {
            tracing::warn!(client = %self.client.id, %error, "cannot catch up from the log");
            End::Cut(Reason::UNSPECIFIED)
        })?;
        let gap = self.outbound.resume(batch, &self.subscriptions);
        if gap > 0 {
            self.house.deps.metrics.broker_gap_offsets.inc_by(gap);
            tracing::warn!(client = %self.client.id, offsets = gap, "the log overtook a client");
        }
        Ok(())
    }

    /// Looks whether the client is silent, or deaf, for too long.
    fn ring(&mut self) -> Result<(), End> {
        if !self.io.output.is_empty() && self.taken.elapsed() >= WRITE_STALL {
            return Err(End::Cut(Reason::IMPLEMENTATION));
        }
        let mut next = WRITE_STALL;
        if let Some(silence_max) = self.client.silence_max {
            if !self.may_read() {
                // It is us who do not listen.
                self.heard = Stopwatch::start();
            }
            let left = silence_max.saturating_sub(self.heard.elapsed());
            if left.is_zero() {
                return Err(End::Cut(Reason::KEEP_ALIVE));
            }
            next = next.min(left);
        }
        self.alarm.set(sleep(next));
        Ok(())
    }
}

/// Gives messages that were taken in the time to be stored, and their answers to the client if it
/// still listens.
async fn settle(io: &mut Io, inbound: &mut Inbound, client: &Client, house: &House, end: End) {
    let settled = async {
        while !inbound.is_empty() {
            inbound.answered().await;
            let answers = inbound.answers();
            if answer(io, answers, client, house).is_err() {
                break;
            }
            if matches!(end, End::Cut(_)) && io.flush().await.is_err() {
                break;
            }
        }
    };
    if timeout(FAREWELL, settled).await.is_err() {
        tracing::debug!(client = %client.id, "messages were still on their way to the log");
    }
}

/// Writes what became of messages. An error ends the connection: 3.1.1 has no way to refuse one.
fn answer(io: &mut Io, answers: Vec<Answer>, client: &Client, house: &House) -> Result<(), Reason> {
    for Answer { id, verdict } in answers {
        match verdict {
            Verdict::Stored if id == 0 => {}
            Verdict::Stored => encode::puback(&mut io.output, id),
            Verdict::Refused { .. } if id == 0 => {
                house.deps.metrics.broker_messages_dropped.inc();
            }
            Verdict::Refused { reason, .. } if client.version == Version::V4 => return Err(reason),
            Verdict::Refused { reason, words } => {
                let words = words.filter(|_| client.words);
                encode::puback_refused(&mut io.output, id, reason, words.as_deref());
            }
        }
    }
    Ok(())
}
