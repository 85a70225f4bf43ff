//! What goes wrong meanwhile.

use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::service::{Service, Setup};
use postgres::NoTls;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::World;

/// What clients write under the protection of the fence.
pub const SCHEMA: &str = "CREATE TABLE register (id bigint GENERATED ALWAYS AS IDENTITY, lock text, token bigint)";

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A service dies and comes back at another address
    Service(usize),
    /// Some connections of the services are cut, perhaps the one that listens
    Backends,
    /// The database server dies and comes back
    Server,
}

/// Injects faults for about so long; all is well again when it returns.
pub fn inject(
    world: &World,
    server: &mut Postgres,
    services: &mut [Service; 2],
    url: &str,
    mut random: StdRng,
    span: Duration,
) {
    let start = Instant::now();
    let mut faults =
        vec![Fault::Service(0), Fault::Service(1), Fault::Server, Fault::Backends, Fault::Backends, Fault::Backends];
    faults.shuffle(&mut random);
    // Each kind at least once, and then any, as time allows.
    let more = faults.clone();
    for (number, fault) in faults.into_iter().chain(more).enumerate() {
        if number >= 6 && start.elapsed() > span {
            break;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(100..700)));
        match fault {
            Fault::Service(number) => {
                services[number].kill();
                std::thread::sleep(Duration::from_millis(random.random_range(0..500)));
                services[number] = Setup::over_url(url).start();
                world.services.lock().expect("no panic")[number] = services[number].http.clone();
            }
            Fault::Backends => terminate(&world.database, random.random_range(1..4)),
            Fault::Server => {
                server.kill();
                std::thread::sleep(Duration::from_millis(random.random_range(0..500)));
                server.launch();
            }
        }
    }
}

fn terminate(database: &str, count: i64) {
    let mut psql = postgres::Client::connect(database, NoTls).expect("connect");
    let sql = "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT $1) AS a";
    psql.execute(sql, &[&count]).expect("terminate");
}
