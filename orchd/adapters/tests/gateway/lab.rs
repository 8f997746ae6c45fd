//! A gateway on loopback between a client of bytes and a server of bytes, with books in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_adapters::gateway::{
    Answered, Api, Asked, Client, Gateway, Ledger, NotAnswered, Opened, Question, Refusal, Upstream, Way,
};
use orch_sandbox::Secrets;
use orch_sandbox::redact::Patterns;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What no run may see.
pub(crate) const KEY: &str = "sk-lab-93f1c07ae55d";
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a test may leave unheard.
const NEWS_MAX: usize = 64;

/// What was put on record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) asked: Vec<Asked>,
    pub(crate) answered: Vec<Answered>,
}

/// Books in memory.
#[derive(Clone)]
pub(crate) struct Books {
    way: Arc<Mutex<Way>>,
    /// Why nothing goes on, if that is so.
    refusal: Arc<Mutex<Option<Refusal>>>,
    record: Arc<Mutex<Record>>,
    /// Taken by each request before it is on record.
    leaves: Arc<Semaphore>,
    /// Told of each request that came.
    came: mpsc::Sender<()>,
    /// Told of each that is over.
    closed: mpsc::Sender<()>,
}

impl Books {
    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Books {
    type Ticket = ();

    async fn way(&self) -> Result<Way, Refusal> {
        Ok(self.way.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn admits(&self) -> Result<(), Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    async fn open(&self, asked: Asked) -> Result<Opened<()>, Refusal> {
        let has_waited = self.leaves.available_permits() == 0;
        let _heard = self.came.try_send(());
        if let Ok(leave) = self.leaves.acquire().await {
            leave.forget();
        }
        self.admits().await?;
        self.record().asked.push(asked);
        Ok(Opened { ticket: (), has_waited })
    }

    async fn close(&self, (): (), answered: Answered) {
        self.record().answered.push(answered);
        let _heard = self.closed.try_send(());
    }
}

/// All of it. Ends when dropped.
pub(crate) struct Lab {
    address: SocketAddr,
    client: Client,
    books: Books,
    came: mpsc::Receiver<()>,
    closed: mpsc::Receiver<()>,
    /// Requests as the server got them.
    seen: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Lab {
    /// A server that answers the first request with the first of these, and so on; the last of them again and again. An
    /// empty one is none: the connection is closed.
    pub(crate) async fn new(api: Api, answers: &[&str]) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = way_to(api, &server, KEY);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = answers.iter().map(ToString::to_string).collect();
        let serving = tokio::spawn(answer_all(server, answers, Arc::clone(&seen)));
        Self::with(api, way, seen, vec![serving])
    }

    /// A gateway to a server that somebody else is.
    pub(crate) fn to(api: Api, server: &TcpListener) -> Self {
        Self::with(api, way_to(api, server, KEY), Arc::default(), Vec::new())
    }

    /// From now on no request goes on.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        *self.books.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    fn with(api: Api, way: Way, seen: Arc<Mutex<Vec<String>>>, mut tasks: Vec<JoinHandle<()>>) -> Self {
        let (came_in, came) = mpsc::channel(NEWS_MAX);
        let (closed_in, closed) = mpsc::channel(NEWS_MAX);
        let leaves = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let way = Arc::new(Mutex::new(way));
        let refusal = Arc::default();
        let books = Books { way, refusal, record: Arc::default(), leaves, came: came_in, closed: closed_in };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new().unwrap();
        let gateway = Gateway { api, client: client.clone(), ledger: books.clone() };
        tasks.push(tokio::spawn(async move {
            let _ended = gateway.serve(listener).await;
        }));
        Self { address, client, books, came, closed, seen, tasks }
    }

    /// No request gets on record until [`Self::let_go`].
    pub(crate) fn hold(&self) {
        self.books.leaves.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_go(&self) {
        self.books.leaves.add_permits(1_000);
    }

    /// From now on requests go on with this key, which is taken out of them, too.
    pub(crate) fn set_key(&self, key: &str) {
        let mut way = self.books.way.lock().unwrap_or_else(PoisonError::into_inner);
        *way = with_key(&way, key);
    }

    /// A connection on which this was sent.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// What comes of a request on a connection of its own, up to its end.
    pub(crate) async fn ask(&self, request: &str) -> String {
        heard(self.send(request).await).await
    }

    /// A request with a body.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        self.ask(&posted(path, headers, body)).await
    }

    /// What the daemon itself asks, past the listener.
    pub(crate) async fn question(
        &self,
        question: Question,
        unwanted: impl Future<Output = ()> + Send,
    ) -> Result<String, NotAnswered> {
        let asked = self.client.question(&self.books, question, unwanted);
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }

    /// Waits until a request has come to the books.
    pub(crate) async fn has_come(&mut self) {
        tokio::time::timeout(PATIENCE, self.came.recv()).await.unwrap().unwrap();
    }

    /// What came of the next request that is over.
    pub(crate) async fn answered(&mut self) -> Answered {
        tokio::time::timeout(PATIENCE, self.closed.recv()).await.unwrap().unwrap();
        self.books.record().answered.remove(0)
    }

    /// How many requests are on record.
    pub(crate) fn asked(&self) -> usize {
        self.books.record().asked.len()
    }

    /// The last request that was put on record.
    pub(crate) fn last(&self) -> Asked {
        self.books.record().asked.last().cloned().unwrap()
    }

    /// Waits until the server has seen so many requests.
    pub(crate) async fn has_seen(&self, count: usize) -> Vec<String> {
        let waited = async {
            loop {
                let seen = self.seen().clone();
                if seen.len() >= count {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All that comes on a connection.
pub(crate) async fn heard(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    // A connection that broke off is an answer, too.
    let _broken = read.await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// How requests go on to this server.
fn way_to(api: Api, server: &TcpListener, key: &str) -> Way {
    let url = format!("http://{}", server.local_addr().unwrap());
    let upstream = Upstream::new(api, &url).unwrap();
    let none = Way {
        upstream,
        key: None,
        hosted: false,
        temperature_percent: None,
        answer_tokens: None,
        secrets: Vec::new(),
        of_answers: None,
    };
    with_key(&none, key)
}

fn with_key(way: &Way, key: &str) -> Way {
    let mut secrets = Secrets::new();
    secrets.insert("model-key", key.as_bytes().to_vec()).unwrap();
    let patterns = Patterns::new(&secrets);
    Way {
        key: Some(key.as_bytes().to_vec()),
        secrets: patterns.iter().cloned().collect(),
        of_answers: patterns,
        ..way.clone()
    }
}

/// A request with a body, after which the connection ends.
pub(crate) fn posted(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// An answer that ends with its connection.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}\r\n{body}")
}

async fn answer_all(server: TcpListener, answers: Vec<String>, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = server.accept().await {
        let (answers, seen) = (answers.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let _broken = answer_one(stream, &answers, &seen).await;
        });
    }
}

async fn answer_one(mut stream: TcpStream, answers: &[String], seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    let at = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(request);
        seen.len() - 1
    };
    let answer = answers.get(at).or(answers.last()).cloned().unwrap_or_default();
    if answer == HELD {
        // Until the other side goes.
        stream.read_to_end(&mut Vec::new()).await?;
    }
    stream.write_all(answer.as_bytes()).await
}

/// An answer that never comes.
pub(crate) const HELD: &str = "held";

async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let (mut read, mut piece) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = read.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(read);
            }
        }
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
}
