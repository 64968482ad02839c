//! One seed's world: a tree of lives of one data folder. In each life the driver starts, is looked at, works, and the
//! power is cut at many moments; each of these is the beginning of other lives.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use vaultaire::io::sim::{Faults, SimDisk, Snapshot};
use vaultaire::runtime;
use vaultaire::runtime::simulated::{Random, Simulation};
use vaultaire::shard::check::{self, Changes, Finding, Severity};

use super::cluster::{Cluster, ROOT, SIZES, STEPS_MAX, StartError};
use super::content::Contents;
use super::full;
use super::logs::Logs;
use super::model::{Event, Model, Observation, Verdict};
use super::observe::observe;
use super::perils::{Perils, Trust};
use super::rot;
use super::tally::Tally;
use super::workload::{Bench, Client, Upload, create_containers, wait};

/// Lives that follow each other at most.
const DEPTH_MAX: u32 = 4;

/// One in so many folders is checked offline before a start.
const CHECKED_ONE_IN: u64 = 16;

/// A life to be.
struct Life {
    disk: SimDisk,
    model: Rc<Model>,
    depth: u32,
    now_ns: u64,
    /// What was asked and answered in the life before it, up to the power cut.
    before: Rc<[Event]>,
    /// It goes on after it was looked at.
    works: bool,
    trust: Trust,
    /// The disk fails or is full from the beginning.
    perilous: bool,
    /// Somebody has accepted what is lost.
    accepts: bool,
}

/// A moment at which the power is cut.
struct Moment<'m> {
    snapshot: &'m Snapshot,
    model: &'m Rc<Model>,
    before: &'m Rc<[Event]>,
    now_ns: u64,
}

/// A world.
pub(crate) struct World {
    random: Random,
    perils: Perils,
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
            depth: 0,
            now_ns: 1_000_000_000,
            before: Rc::new([]),
            works: true,
            trust: Trust::Whole,
            perilous: false,
            accepts: false,
        };
        let perils = Perils::choose(&mut random);
        if talks {
            println!("in this world: {perils:?}");
        }
        let mut world = Self {
            random,
            perils,
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

    fn go_through(&mut self, mut life: Life) {
        self.tally.lives += 1;
        if life.trust != Trust::Whole && self.random.one_in(3) {
            life.accepts |= accept_loss(&life, self.random.number());
        }
        let is_checked =
            !life.perilous && !life.accepts && self.tally.lives.is_multiple_of(CHECKED_ONE_IN);
        let checked = is_checked.then(|| damage_found(&life, self.tally.lives)).flatten();
        if life.depth < DEPTH_MAX {
            life.disk.snapshot_one_in(if life.works { 16 } else { 400 });
        }
        if life.perilous {
            life.disk.set_faults(self.perils.faults(life.trust));
            life.disk.set_capacity(self.perils.capacity);
        }
        // A start that meets a spoiled end of a log takes it for torn, and names it.
        let may_spoil = life.perilous && self.perils.flaws();
        let logs = may_spoil.then(|| Logs::of(&life.disk));
        let started = Cluster::start(&life.disk, &mut self.random, life.now_ns);
        life.disk.set_faults(Faults::default());
        let misdeeds = life.disk.misdeeds();
        life.trust = life.trust.max(rot::trust_after(&life.disk, &misdeeds));
        life.trust =
            logs.map_or(life.trust, |logs| life.trust.max(rot::trust_among(&logs, &misdeeds)));
        let in_recovery = life.disk.take_snapshots();
        life.disk.snapshot_one_in(0);
        let when = format!("in life {} at depth {}", self.tally.lives, life.depth);
        if self.talks {
            let Life { works, trust, perilous, accepts, .. } = life;
            println!(
                "{when}: works {works}, {trust:?}, perilous {perilous}, accepts {accepts}, {} snapshots in recovery, {:?}",
                in_recovery.len(),
                misdeeds
            );
        }
        let cluster = match started {
            Ok(cluster) => cluster,
            Err(error) => return self.not_started(&life, error, &in_recovery, &when),
        };
        self.tally.spills += cluster.volume.index_work().spills;
        let looking = observe(cluster.cores.clone(), Rc::clone(&self.contents), self.fork());
        let Ok(seen) = cluster.simulation.run(STEPS_MAX, looking) else {
            return self.lose("it does not come to its end when it is looked at", &when);
        };
        let mut verdict = self.check(&life, &cluster, &seen);
        if let Some(found) = checked {
            self.tally.checked += 1;
            if life.trust == Trust::Whole && !found.is_empty() {
                verdict.wrong.push(format!("a check finds damage where there is none: {found:?}"));
            }
            if cluster.volume.is_damaged() && found.is_empty() {
                verdict.wrong.push("a check does not find the damage that a start does".to_owned());
            }
        }
        self.tally.judge(&verdict, &when);
        if !verdict.is_good() {
            self.talk_about(&life.before);
            return;
        }
        self.cut_in_recovery(&life, &in_recovery, cluster.simulation.now_ns());
        // What could not be listed is not known, so nothing can be said of what would come next.
        if life.works && seen.failed.is_empty() {
            self.work(&life, cluster, Model::settle(&seen), &when);
        }
    }

    /// Compares what is seen with what must be.
    fn check(&mut self, life: &Life, cluster: &Cluster, seen: &Observation) -> Verdict {
        let flawed = life.trust != Trust::Whole;
        let damaged = cluster.volume.is_damaged();
        self.tally.damaged += u64::from(damaged);
        self.tally.accepted += u64::from(life.accepts && !damaged);
        self.tally.unreadable += seen.unreadable.len() as u64;
        // What was accepted is not told again.
        let told = damaged || life.accepts || !seen.failed.is_empty();
        if life.trust == Trust::EndLost || (flawed && told) {
            return Model::check_damaged(seen, &self.contents.borrow());
        }
        // Reads that failed twice have been taken for damage, and that is remembered.
        let excused = flawed || self.perils.faults.read_error > 0;
        let mut verdict = life.model.check(seen, excused);
        if damaged {
            verdict.lost.push("damage is reported".to_owned());
        }
        verdict
    }

    /// A start was refused: if there was a reason, it must succeed once that is gone.
    fn not_started(&mut self, life: &Life, error: StartError, met: &[Snapshot], when: &str) {
        let StartError::Refused(error) = error else {
            return self.lose("it does not come to its end when it starts", when);
        };
        if self.talks {
            println!("{when}: refused: {error}");
        }
        self.tally.refused += 1;
        let Life { now_ns, trust, .. } = *life;
        if life.perilous && self.perils.refuses() {
            self.cut_in_recovery(life, met, now_ns);
            let snapshot = life.disk.snapshot();
            let moment =
                Moment { snapshot: &snapshot, model: &life.model, before: &life.before, now_ns };
            let mut next = self.cut(&moment, life.trust, life.depth + 1);
            (next.perilous, next.accepts) = (false, life.accepts);
            self.lives.push(next);
        } else if trust == Trust::Whole || life.accepts {
            self.lose(&format!("it does not start: {error}"), when);
        }
    }

    fn lose(&mut self, text: &str, when: &str) {
        let verdict = Verdict { lost: vec![text.to_owned()], ..Verdict::default() };
        self.tally.judge(&verdict, when);
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
            acknowledged: RefCell::default(),
            uploads: RefCell::new(uploads.collect()),
            model: RefCell::new(model.clone()),
            complaints: RefCell::default(),
            perils: self.perils,
            flawed: life.trust != Trust::Whole || self.perils.flaws(),
            poisoned: RefCell::default(),
            poisons: Cell::new(0),
            full: Cell::new(0),
            operations: Rc::clone(&self.operations),
        });
        cluster.disk.set_capacity(None);
        cluster.disk.snapshot_of_each();
        let clients = 1 + self.random.below(5);
        let each = (20 + self.random.below(60)) / clients;
        let randoms: Vec<_> = (0..clients).map(|_| self.fork()).collect();
        let (ours, ends_well) = (Rc::clone(&bench), self.random.one_in(3));
        let idle_ms = self.random.number() % 1000;
        let makes_room =
            self.perils.capacity.is_some() && !self.perils.fails() && self.random.one_in(4);
        let random = self.fork();
        let faults = self.perils.faults(life.trust);
        let run = cluster.simulation.run(STEPS_MAX, async move {
            // A writer that a fault of the start has stopped does nothing.
            if !create_containers(&ours).await {
                return;
            }
            ours.disk.set_faults(faults);
            ours.disk.set_capacity(ours.perils.capacity);
            let clients = randoms
                .into_iter()
                .map(|random| runtime::spawn(Client::new(Rc::clone(&ours), random).run(each)));
            for client in clients.collect::<Vec<_>>() {
                client.await;
            }
            wait(&ours, idle_ms).await;
            if makes_room {
                full::make_room(&ours, random).await;
            }
            if ends_well {
                for core in &ours.cores {
                    core.shutdown().await;
                }
            }
        });
        let now_ns = cluster.simulation.now_ns();
        self.tally.errors += cluster.disk.errors();
        let work = cluster.volume.index_work();
        self.tally.flushes += work.flushes;
        self.tally.merges += work.merges;
        self.tally.checkpoints += work.checkpoints;
        self.tally.full += bench.full.get();
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
        let history = bench.history.take();
        if verdict.is_good() {
            self.cut_all(&snapshots, model, (&history, &bench.acknowledged.take()), life, now_ns);
        } else {
            self.talk_about(&history);
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
        (history, acknowledged): (&[Event], &[usize]),
        life: &Life,
        now_ns: u64,
    ) {
        let (mut at, mut told) = (0, 0);
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
            let known = acknowledged.partition_point(|mark| *mark <= snapshot.mark);
            self.tally.points += u64::from(known > told);
            told = told.max(known);
            let moment = Moment { snapshot, model: &then, before: &before, now_ns };
            let again = self.random.one_in(12) && !snapshot.is_certain();
            for _ in 0..1 + u64::from(again) {
                // What was seen at the start is what must be there from now on.
                let next = self.cut(&moment, life.trust.min(Trust::Flawed), life.depth + 1);
                self.lives.push(next);
            }
            shared = Some((snapshot.mark, then, before));
        }
    }

    fn cut_in_recovery(&mut self, life: &Life, snapshots: &[Snapshot], now_ns: u64) {
        self.tally.in_recovery += snapshots.len() as u64;
        for snapshot in snapshots {
            let moment = Moment { snapshot, model: &life.model, before: &life.before, now_ns };
            let mut next = self.cut(&moment, life.trust, life.depth + 1);
            // Some of it may be noted already.
            next.accepts = life.accepts;
            self.lives.push(next);
        }
    }

    /// The life after the power was cut at a moment of another.
    fn cut(&mut self, moment: &Moment<'_>, mut trust: Trust, depth: u32) -> Life {
        let snapshot = moment.snapshot;
        self.tally.cuts += 1;
        self.tally.in_reclaim += u64::from(snapshot.is_reclaiming());
        let disk = snapshot.after_power_cut(&mut self.random);
        trust = trust.max(rot::trust_after(&disk, &snapshot.misdeeds));
        if trust == Trust::Whole && self.perils.rot && self.random.one_in(3) {
            trust = rot::rot(&disk, &mut self.random);
        }
        self.tally.flawed += u64::from(trust != Trust::Whole);
        Life {
            disk,
            model: Rc::clone(moment.model),
            depth,
            now_ns: moment.now_ns,
            before: Rc::clone(moment.before),
            works: depth < DEPTH_MAX && self.random.one_in(24),
            trust,
            perilous: self.random.one_in(3),
            accepts: false,
        }
    }
}

/// Has the next start accept what the logs have lost; whether that could be said.
fn accept_loss(life: &Life, seed: u64) -> bool {
    let simulation = Simulation::new(seed, life.now_ns);
    let disk = life.disk.clone();
    let accepting =
        simulation.run(STEPS_MAX, async move { check::accept_loss(&disk, Path::new(ROOT)).await });
    matches!(accepting, Ok(Ok(())))
}

/// What an offline check finds damaged but for the superblock, of which a power cut may leave a torn copy, and for the
/// footer and padding of a segment that is full to its last block: torn when the server stops, they look like what was
/// whole.
/// `None` if the folder cannot be checked.
fn damage_found(life: &Life, seed: u64) -> Option<Vec<Finding>> {
    let simulation = Simulation::new(seed, life.now_ns);
    let (disk, clock) = (life.disk.clone(), simulation.clock());
    let checking = simulation.run(STEPS_MAX, async move {
        let folder = check::open_on(&disk, Path::new(ROOT)).ok()?;
        let mut found = Vec::new();
        let mut say = |finding: Finding| {
            let Finding { severity, file, what } = &finding;
            // A start without the index forgets what was accepted.
            let is_damage = *severity == Severity::Damaged || what.ends_with("(accepted as lost)");
            let may_be_torn = || {
                let path = Path::new(ROOT).join(file);
                let length = disk.content(&path).map_or(0, |content| content.len() as u64);
                let is_of_footer = what.contains("footer") || what.contains("padding");
                is_of_footer && length == SIZES.log_segment
            };
            if is_damage && !file.starts_with("superblock") && !may_be_torn() {
                found.push(finding);
            }
        };
        check::check(&disk, &clock, &folder, Changes::default(), &mut say).await.ok()?;
        Some(found)
    });
    checking.ok().flatten()
}
