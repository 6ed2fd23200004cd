//! Frames of a peer are believed only as far as they were checked.

use super::decode::Decoder;
use super::encode::encode;
use super::frame::{Answer, Event, Frame, Items, Request, Trace};
use crate::catalog::Catalog;
use crate::definition::Definition;
use crate::layout::{self, Layout};
use crate::message::Message;
use crate::testing::{Bank, Words};
use crate::{ErrorKind, Module};

fn layout_of(module: &dyn Module) -> Layout {
    let definition = Definition::of(module).unwrap();
    let entry = Catalog::new(7)
        .reconcile(&layout::declared(&definition, 4, 2))
        .unwrap();
    Layout::new(definition, &entry)
}

/// One frame of every kind that a well-behaved peer sends to thread 0 of `Words` on 4 tasks.
fn frames() -> Vec<Frame> {
    let word = rama_wire::Record::to_bytes(&"word".to_owned());
    let items = Items {
        traces: vec![Trace {
            record: 3,
            home: 0,
            edges: 9,
        }],
        ends: vec![word.len() as u32],
        bytes: word,
    };
    let (topology, task) = (0, 2);
    vec![
        Frame::Request {
            id: 1,
            request: Request::Append {
                task: 2,
                depot: 0,
                bytes: rama_wire::Record::to_bytes(&"a line".to_owned()),
                ends: vec![rama_wire::Record::to_bytes(&"a line".to_owned()).len() as u32],
                ack: 2,
                producer: 5,
                sequence: 1,
            },
        },
        Frame::Request {
            id: 2,
            request: Request::DepotInfo { task: 0, depot: 0 },
        },
        Frame::Request {
            id: 3,
            request: Request::ListDeadLetters {
                task: 0,
                after: None,
            },
        },
        Frame::Request {
            id: 4,
            request: Request::Pause { topology: 1 },
        },
        Frame::Request {
            id: 12,
            request: Request::Processed {
                task: 0,
                topology: 0,
                source: 0,
            },
        },
        Frame::Request {
            id: 7,
            request: Request::Follow {
                task: 2,
                pstate: 0,
                plan: crate::plan::Plan::Get { key: vec![1] }.to_bytes(),
            },
        },
        Frame::Cancel { id: 5 },
        Frame::Answer {
            id: 7,
            answer: Answer::Update(vec![1, 2, 3]),
        },
        Frame::Answer {
            id: 6,
            answer: Answer::Selected(vec![1, 2, 3]),
        },
        Frame::Event(Event::StreamHop {
            topology,
            task,
            stage: 0,
            items,
        }),
        Frame::Event(Event::Settled {
            topology,
            task,
            returns: vec![(
                Trace {
                    record: 1,
                    home: 0,
                    edges: 0,
                },
                "17".to_owned(),
            )],
            acks: vec![Trace {
                record: 1,
                home: 0,
                edges: 4,
            }],
        }),
        Frame::Event(Event::StreamNewsLost),
        Frame::Event(Event::StreamFailed {
            topology,
            task,
            trees: vec![(
                Trace {
                    record: 1,
                    home: 0,
                    edges: 0,
                },
                true,
            )],
            text: "why".to_owned(),
        }),
    ]
}

fn take(decoder: &Decoder<'_>, frame: Frame) -> crate::Result<()> {
    match frame {
        Frame::Event(event) => decoder.event(event).map(|_| ()),
        Frame::Request { request, .. } => decoder.request(request).map(|_| ()),
        Frame::Answer { .. } | Frame::Cancel { .. } => Ok(()),
    }
}

#[test]
fn frames_survive_the_way() {
    let layout = layout_of(&Words);
    let decoder = Decoder {
        layout: &layout,
        thread: 0,
    };
    for frame in frames() {
        let back = Frame::from_bytes(&frame.to_bytes()).unwrap();
        assert_eq!(back, frame);
        take(&decoder, back).unwrap();
    }
}

#[test]
fn a_message_that_is_encoded_again_gives_the_same_frame() {
    let layout = layout_of(&Words);
    let decoder = Decoder {
        layout: &layout,
        thread: 0,
    };
    for frame in frames() {
        let Frame::Event(event) = frame else { continue };
        let message = decoder.event(event.clone()).unwrap();
        let Ok((again, None)) = encode(message, 1) else {
            panic!("an event wants no answer");
        };
        assert_eq!(again, Frame::Event(event));
    }
}

/// Random damage is refused or gives a frame that is checked; it never panics.
#[test]
fn damaged_frames_are_refused() {
    let layout = layout_of(&Words);
    let decoder = Decoder {
        layout: &layout,
        thread: 0,
    };
    let mut refused = 0;
    for (at, frame) in frames().into_iter().enumerate() {
        let good = frame.to_bytes();
        for seed in 0..4000_u64 {
            let mut bytes = good.clone();
            let random = rama_core::ids::mix(seed << 8 | at as u64);
            let place = (random >> 8) as usize % bytes.len();
            match random % 3 {
                0 => bytes.truncate(place),
                1 => bytes[place] ^= 1 << (random >> 60 & 7),
                _ => bytes[place] = (random >> 40) as u8,
            }
            let taken = Frame::from_bytes(&bytes).and_then(|frame| take(&decoder, frame));
            refused += u32::from(taken.is_err());
        }
    }
    assert!(refused > 1000, "{refused}");
}

/// What fits the format and not the module: other threads' tasks, unknown objects, wrong kinds.
#[test]
fn frames_for_another_module_or_thread_are_refused() {
    let layout = layout_of(&Words);
    let decoder = Decoder {
        layout: &layout,
        thread: 1,
    };
    for frame in frames() {
        let about_a_task = !matches!(
            &frame,
            Frame::Answer { .. }
                | Frame::Cancel { .. }
                | Frame::Event(Event::StreamNewsLost)
                | Frame::Request {
                    request: Request::Pause { .. },
                    ..
                }
        );
        if about_a_task {
            let error = take(&decoder, frame).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
        }
    }
    let bank = layout_of(&Bank::default());
    let decoder = Decoder {
        layout: &bank,
        thread: 0,
    };
    for frame in frames() {
        let of_a_topology = !matches!(frame, Frame::Event(Event::StreamNewsLost));
        if matches!(frame, Frame::Event(_)) && of_a_topology {
            assert!(
                take(&decoder, frame).is_err(),
                "the bank has no stream topology"
            );
        }
    }
}

#[test]
fn what_belongs_to_one_process_is_not_sent() {
    let (reply, _answer) = futures_channel::oneshot::channel();
    let stop = Message::Control(crate::message::Control::Stop { reply });
    assert!(encode(stop, 1).is_err());
}
