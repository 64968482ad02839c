//! One seed's world: a tree of lives of one data folder. In each life the driver starts, is looked at, works, and the
//! power is cut at many moments; each of these is the beginning of other lives.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vaultaire::io::sim::{SimDisk, Snapshot};
use vaultaire::runtime;
use vaultaire::runtime::simulated::Random;

use super::cluster::{Cluster, STEPS_MAX};
use super::content::Contents;
use super::model::{Event, Model, Verdict};
use super::observe::observe;
use super::workload::{Bench, Client, Upload, create_containers, wait};

/// Lives that follow each other at most.
const DEPTH_MAX: u32 = 4;

/// What a world has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) points: u64,
    pub(crate) lost: u64,
    pub(crate) phantom: u64,
    pub(crate) wrong: u64,
    /// Points in recovery.
    pub(crate) in_recovery: u64,
    pub(crate) lives: u64,
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) texts: Vec<String>,
}

impl Tally {
    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.phantom == 0 && self.wrong == 0
    }

    fn judge(&mut self, verdict: &Verdict, when: &str) {
        self.lost += u64::from(!verdict.lost.is_empty());
        self.phantom += u64::from(!verdict.phantom.is_empty());
        self.wrong += u64::from(!verdict.wrong.is_empty());
        let all =
            [("lost", &verdict.lost), ("phantom", &verdict.phantom), ("wrong", &verdict.wrong)];
        for (what, texts) in all {
            self.texts.extend(texts.iter().map(|text| format!("{what} {when}: {text}")));
        }
    }
}

/// A life to be.
struct Life {
    disk: SimDisk,
    model: Rc<Model>,
    /// Work was done that could be lost.
    counts: bool,
    in_recovery: bool,
    depth: u32,
    now_ns: u64,
    /// What was asked and answered in the life before it, up to the power cut.
    before: Rc<[Event]>,
    /// It goes on after it was looked at.
    works: bool,
}

/// A world.
pub(crate) struct World {
    random: Random,
    contents: Rc<RefCell<Contents>>,
    operations: Rc<Cell<u32>>,
    lives: Vec<Life>,
    tally: Tally,
    /// Says what happens.
    talks: bool,
}

impl World {
    /// Lives through a seed's world, until something is wrong or so many points were met.
    pub(crate) fn live(seed: u64, points_max: u64, talks: bool) -> Tally {
        let mut random = Random::new(seed);
        let first = Life {
            disk: SimDisk::with_seed(random.number()),
            model: Rc::default(),
            counts: false,
            in_recovery: false,
            depth: 0,
            now_ns: 1_000_000_000,
            before: Rc::new([]),
            works: true,
        };
        let mut world = Self {
            random,
            contents: Rc::default(),
            operations: Rc::default(),
            lives: vec![first],
            tally: Tally::default(),
            talks,
        };
        while let Some(life) = world.lives.pop()
            && world.tally.points < points_max
            && world.tally.is_good()
        {
            world.go_through(life);
        }
        world.tally.operations = u64::from(world.operations.get());
        world.tally
    }

    fn go_through(&mut self, life: Life) {
        self.tally.lives += 1;
        self.tally.points += u64::from(life.counts);
        self.tally.in_recovery += u64::from(life.counts && life.in_recovery);
        if life.depth < DEPTH_MAX {
            life.disk.snapshot_one_in(if life.works { 8 } else { 200 });
        }
        let started = Cluster::start(&life.disk, &mut self.random, life.now_ns);
        let in_recovery = life.disk.take_snapshots();
        life.disk.snapshot_one_in(0);
        let when = format!("in life {} at depth {}", self.tally.lives, life.depth);
        if self.talks {
            println!("{when}: works {}, {} snapshots in recovery", life.works, in_recovery.len());
        }
        let cluster = match started {
            Ok(cluster) => cluster,
            Err(error) => {
                let lost = vec![format!("it does not start: {error}")];
                self.tally.judge(&Verdict { lost, ..Verdict::default() }, &when);
                return;
            }
        };
        let looking = observe(cluster.cores.clone(), Rc::clone(&self.contents), self.fork());
        let seen = match cluster.simulation.run(STEPS_MAX, looking) {
            Ok(seen) => seen,
            Err(stuck) => {
                let lost = vec![stuck.to_string()];
                self.tally.judge(&Verdict { lost, ..Verdict::default() }, &when);
                return;
            }
        };
        let mut verdict = life.model.check(&seen);
        if cluster.volume.is_damaged() {
            verdict.lost.push("damage is reported".to_owned());
        }
        self.tally.judge(&verdict, &when);
        if !verdict.is_good() {
            self.talk_about(&life.before);
            return;
        }
        for snapshot in in_recovery {
            let now_ns = cluster.simulation.now_ns();
            self.cut(&snapshot, &life.model, &life.before, &life, (true, now_ns));
        }
        if life.works {
            self.work(&life, cluster, Model::settle(&seen), &when);
        }
    }

    fn fork(&mut self) -> Random {
        Random::new(self.random.number())
    }

    /// Lets the driver work, and cuts the power at many moments.
    fn work(&mut self, life: &Life, cluster: Cluster, model: Model, when: &str) {
        let uploads = model.uploads().into_iter().map(|(container, key, id, parts)| Upload {
            container,
            key,
            id,
            parts,
        });
        let bench = Rc::new(Bench {
            cores: cluster.cores.clone(),
            disk: cluster.disk.clone(),
            clock: cluster.simulation.clock(),
            contents: Rc::clone(&self.contents),
            history: RefCell::default(),
            uploads: RefCell::new(uploads.collect()),
            model: RefCell::new(model.clone()),
            complaints: RefCell::default(),
            errors_expected: false,
            operations: Rc::clone(&self.operations),
        });
        cluster.disk.snapshot_one_in(4);
        let clients = 1 + self.random.below(5);
        let each = (20 + self.random.below(60)) / clients;
        let randoms: Vec<_> = (0..clients).map(|_| self.fork()).collect();
        let (ours, ends_well) = (Rc::clone(&bench), self.random.one_in(3));
        let idle_ms = self.random.number() % 1000;
        let run = cluster.simulation.run(STEPS_MAX, async move {
            create_containers(&ours).await;
            let clients = randoms
                .into_iter()
                .map(|random| runtime::spawn(Client::new(Rc::clone(&ours), random).run(each)));
            for client in clients.collect::<Vec<_>>() {
                client.await;
            }
            wait(&ours, idle_ms).await;
            if ends_well {
                for core in &ours.cores {
                    core.shutdown().await;
                }
            }
        });
        let now_ns = cluster.simulation.now_ns();
        self.tally.errors += cluster.disk.errors();
        let mut verdict = Verdict::default();
        if let Err(stuck) = run {
            verdict.lost.push(stuck.to_string());
        }
        for text in bench.complaints.take() {
            verdict.wrong.push(text);
        }
        self.tally.judge(&verdict, when);
        let mut snapshots = cluster.disk.take_snapshots();
        snapshots.push(cluster.disk.snapshot());
        drop(cluster);
        if verdict.is_good() {
            self.cut_all(&snapshots, model, &bench.history.take(), life, now_ns);
        } else {
            self.talk_about(&bench.history.take());
        }
    }

    fn talk_about(&self, history: &[Event]) {
        if self.talks {
            for event in history {
                println!("{event:?}");
            }
        }
    }

    fn cut_all(
        &mut self,
        snapshots: &[Snapshot],
        mut model: Model,
        history: &[Event],
        life: &Life,
        now_ns: u64,
    ) {
        let mut at = 0;
        let mut shared: Option<(usize, Rc<Model>, Rc<[Event]>)> = None;
        for snapshot in snapshots {
            for event in &history[at.min(snapshot.mark)..snapshot.mark] {
                model.add(event);
            }
            at = at.max(snapshot.mark);
            let (then, before) = match shared.take() {
                Some((mark, then, before)) if mark == snapshot.mark => (then, before),
                _ if self.talks => (Rc::new(model.clone()), history[..snapshot.mark].into()),
                _ => (Rc::new(model.clone()), Rc::new([]) as Rc<[Event]>),
            };
            self.cut(snapshot, &then, &before, life, (false, now_ns));
            shared = Some((snapshot.mark, then, before));
        }
    }

    /// Makes lives of a moment at which the power was cut.
    fn cut(
        &mut self,
        snapshot: &Snapshot,
        model: &Rc<Model>,
        before: &Rc<[Event]>,
        life: &Life,
        (in_recovery, now_ns): (bool, u64),
    ) {
        let cuts = if snapshot.is_certain() { 1 } else { 1 + self.random.below(4) };
        let counts = model.holds_something();
        for _ in 0..cuts {
            let disk = snapshot.after_power_cut(&mut self.random);
            let depth = life.depth + 1;
            let works = depth < DEPTH_MAX && self.random.one_in(24);
            let (model, before) = (Rc::clone(model), Rc::clone(before));
            let life = Life { disk, model, counts, in_recovery, depth, now_ns, before, works };
            self.lives.push(life);
        }
    }
}
