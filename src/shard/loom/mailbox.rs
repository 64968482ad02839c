use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::{Stopped, model};
use crate::shard::mailbox::Mailbox;

/// Receives until the mailbox is closed and empty. A wake-up that is lost would leave it waiting: loom calls that a
/// deadlock.
async fn receive_all(mailbox: &Mailbox<u32>) -> Vec<u32> {
    let mut received = Vec::new();
    while mailbox.ready().await {
        while let Some(message) = mailbox.try_receive() {
            received.push(message);
        }
    }
    received
}

#[test]
fn every_message_arrives_and_a_full_mailbox_lets_its_senders_go_on() {
    model(3, || {
        let mailbox = Arc::new(Mailbox::new(1));
        let sender = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                block_on(async {
                    for message in 1..=2 {
                        mailbox.send(message, &Stopped).await.expect("nobody closes it before");
                    }
                });
                mailbox.close();
            }
        });
        assert_eq!(block_on(receive_all(&mailbox)), [1, 2]);
        sender.join().expect("it ends");
    });
}

#[test]
fn two_senders_that_find_it_full_both_get_room() {
    model(2, || {
        let mailbox = Arc::new(Mailbox::new(1));
        let senders = [1, 2].map(|message| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                block_on(mailbox.send(message, &Stopped)).expect("nobody closes it before");
            })
        });
        let mut received = block_on(async {
            let mut received = Vec::new();
            while received.len() < 2 {
                assert!(mailbox.ready().await);
                received.extend(mailbox.try_receive());
            }
            received
        });
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        for sender in senders {
            sender.join().expect("it ends");
        }
    });
}

#[test]
fn closing_ends_all_waiting_and_what_was_taken_is_still_received() {
    model(3, || {
        let mailbox = Arc::new(Mailbox::new(1));
        let sender = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                let sent = [1, 2].map(|message| block_on(mailbox.send(message, &Stopped)).is_ok());
                assert!(sent[0] || !sent[1], "once closed it takes nothing more");
                sent
            }
        });
        mailbox.close();
        let sent = sender.join().expect("it ends");
        let received = block_on(receive_all(&mailbox));
        assert_eq!(received.len(), sent.iter().filter(|sent| **sent).count());
    });
}
