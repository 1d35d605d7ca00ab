//! Tags that are known only after the load: the sequence, and the page on which the tag's slot is.

use crate::config::Flaw;
use crate::protocol::Protocol;
use crate::state::{Flight, Landing, Page, Purpose, Sequence, State, Step, Task, Version};

impl Protocol {
    /// Returns the check that comes first. The sequence and the page are read in one batch, in either order.
    pub(crate) fn first_check(&self) -> Task {
        if self.config.page_first {
            Task::CheckPage
        } else {
            Task::CheckSequence
        }
    }

    fn second_check(&self) -> Task {
        if self.config.page_first {
            Task::CheckSequence
        } else {
            Task::CheckPage
        }
    }

    fn checked(&self) -> Task {
        if self.config.is(Flaw::PageBeforeLateTag) {
            Task::Tag(Purpose::Fill)
        } else {
            Task::Fill
        }
    }

    /// Does the leader's next step with the sequence and the page, and returns the task after it.
    pub(crate) fn late(&self, state: &mut State, flight: &mut Flight) -> Task {
        const CHANGED: Task = Task::Withdraw(Landing::LookAgain);
        match flight.task {
            Task::Begin(purpose) => match state.store.sequence {
                Some(sequence) if sequence.used => Task::MoveOn(purpose, sequence),
                Some(sequence) => {
                    flight.began = Some(sequence.began());
                    self.after_capture(purpose)
                }
                None => Task::BeginPage(purpose),
            },
            Task::MoveOn(purpose, sequence) => {
                if !self.config.is(Flaw::NotMovedOn) {
                    state.replace_sequence(sequence, sequence.next());
                }
                // If it was no longer the same, another process has advanced it, or it was lost.
                flight.began = Some(sequence.next().began());
                self.after_capture(purpose)
            }
            Task::BeginPage(purpose) => {
                let id = state.new_sequence();
                state.write_page(id, Some(0));
                Task::BeginSequence(purpose, id)
            }
            Task::BeginSequence(purpose, id) => {
                if state.store.sequence.is_some() {
                    return Task::Begin(purpose);
                }
                let sequence = Sequence {
                    id,
                    number: 1,
                    used: false,
                };
                state.store.sequence = Some(sequence);
                flight.began = Some(sequence.began());
                self.after_capture(purpose)
            }
            Task::CheckSequence => {
                let same = state.store.sequence.map(|sequence| sequence.id) == flight.began.map(|began| began.id);
                if !same && !self.config.is(Flaw::SequenceNotCompared) {
                    CHANGED
                } else if self.config.page_first {
                    self.checked()
                } else {
                    self.second_check()
                }
            }
            Task::CheckPage => {
                let Some(began) = flight.began else { return CHANGED };
                match state.store.page {
                    None if self.config.is(Flaw::LostPageUnchanged) => {}
                    Some(page) if page.id == began.id => match page.last {
                        Some(last) if last < began.number => {}
                        Some(_) => return CHANGED,
                        None => return Task::FindOut(page.version),
                    },
                    page => return Task::WriteUnknown(page.map(|page| page.version)),
                }
                if self.config.page_first {
                    self.second_check()
                } else {
                    self.checked()
                }
            }
            Task::WriteUnknown(found) => match flight.began {
                Some(began) if state.store.page.map(|page| page.version) == found => {
                    Task::FindOut(state.write_page(began.id, None))
                }
                _ => CHANGED,
            },
            Task::FindOut(version) => match state.store.sequence {
                Some(sequence) if flight.began.is_some_and(|began| began.id == sequence.id) => {
                    Task::WriteKnown(version, sequence)
                }
                _ => CHANGED,
            },
            Task::WriteKnown(version, sequence) => {
                let stands = state.store.page.is_some_and(|page| page.version == version);
                if stands {
                    state.write_page(sequence.id, Some(sequence.number));
                }
                Task::MarkUsed(sequence)
            }
            Task::MarkUsed(sequence) => {
                state.replace_sequence(sequence, sequence.used());
                CHANGED
            }
            other => other,
        }
    }

    /// Writes on the page that the tag is invalidated. `then` is the step after that.
    pub(crate) fn note(&self, state: &mut State, step: Step, then: Step) -> Step {
        match step {
            Step::ReadsPage(sequence) => self.found(sequence, state.store.page, then),
            Step::ReadsSequence(page) => match state.store.sequence {
                Some(sequence) => self.found(sequence, page, then),
                None => then,
            },
            Step::Notes(sequence, found) => {
                let unchanged = state.store.page.map(|page| page.version) == found.map(|page| page.version);
                if !unchanged && !self.config.is(Flaw::PlainNote) {
                    return Step::ReadsPage(sequence);
                }
                let last = found.filter(|page| page.id == sequence.id).and_then(|page| page.last);
                state.write_page(sequence.id, last.map(|_| sequence.number));
                Self::marks_used(sequence, then)
            }
            Step::MarksUsed(sequence) => {
                state.replace_sequence(sequence, sequence.used());
                then
            }
            _ if self.config.page_first => Step::ReadsSequence(state.store.page),
            _ => match state.store.sequence {
                Some(sequence) => Step::ReadsPage(sequence),
                // No load is under way that could store a value with a late tag.
                None => then,
            },
        }
    }

    fn found(&self, sequence: Sequence, page: Option<Page>, then: Step) -> Step {
        let noted =
            page.is_some_and(|page| page.id == sequence.id && page.last.is_some_and(|last| last >= sequence.number));
        if noted {
            Self::marks_used(sequence, then)
        } else {
            Step::Notes(sequence, page)
        }
    }

    fn marks_used(sequence: Sequence, then: Step) -> Step {
        if sequence.used { then } else { Step::MarksUsed(sequence) }
    }
}

impl State {
    fn replace_sequence(&mut self, from: Sequence, to: Sequence) {
        if self.store.sequence == Some(from) {
            self.store.sequence = Some(to);
        }
    }

    fn write_page(&mut self, id: Version, last: Option<u8>) -> Version {
        let version = self.new_page();
        self.store.page = Some(Page { version, id, last });
        version
    }
}
