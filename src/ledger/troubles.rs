//! Who is told of what went wrong, once.

use super::runs;
use super::work::Work;
use crate::store::records::Telling;
use crate::store::rows;
use crate::store::tx::Read;

/// Tells of troubles: begins the runs that hear of them, and remembers what was told.
pub fn tell(work: &mut Work<'_>, telling: &Telling) -> Read<()> {
    for (run, about) in &telling.runs {
        let is_over = match about {
            Some(number) => !rows::troubles::is_there(work.tx, *number)?,
            None => false,
        };
        // That something is wrong is heard also where everything is full.
        if !is_over {
            runs::insert(work, run)?;
        }
    }
    for number in &telling.done {
        rows::troubles::delete(work.tx, *number)?;
    }
    for (cause, at) in &telling.causes {
        rows::troubles::set_told(work.tx, cause, *at)?;
    }
    telling.over.iter().try_for_each(|cause| rows::troubles::delete_told(work.tx, cause))
}
