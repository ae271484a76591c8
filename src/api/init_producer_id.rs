//! InitProducerId (key 22): KIP-98, 360. Without a transactional id only: whatever id and epoch the
//! request carries is ignored and a new id given, as Kafka does.

use net::wire::init_producer_id::{Request, Response};

use crate::cluster::command::{Answer as ControlAnswer, Command};
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, FinishCx, Handled, ReplyHeader};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    // An id belongs to an epoch: both or none of them.
    let halves = (request.producer_id == -1) != (request.producer_epoch == -1);
    if request.transactional_id.is_some() || halves {
        return refuse(to, Code::INVALID_REQUEST);
    }
    if !cx.producer_ids.is_empty() {
        return give(&mut cx.finish(), to);
    }
    let calls = vec![(0, Call::Control(Box::new(Command::AllocateProducerIds)))];
    Handled::work(cx, calls, move |cx, answers| {
        for answer in answers {
            let Answer::Control(answer) = answer else {
                continue;
            };
            if let ControlAnswer::ProducerIds(block) = *answer
                && cx.producer_ids.is_empty()
            {
                *cx.producer_ids = block.first..block.first + i64::from(block.len);
            }
        }
        give(cx, to)
    })
}

fn give(cx: &mut FinishCx<'_>, to: ReplyHeader) -> Handled {
    match cx.producer_ids.next() {
        None => refuse(to, Code::COORDINATOR_NOT_AVAILABLE),
        Some(producer_id) => {
            let response = Response {
                producer_id,
                producer_epoch: 0,
                ..Default::default()
            };
            to.reply(|w, version| response.encode(w, version))
        }
    }
}

fn refuse(to: ReplyHeader, code: Code) -> Handled {
    let response = Response {
        error_code: code.0,
        producer_epoch: -1,
        producer_id: -1,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}
