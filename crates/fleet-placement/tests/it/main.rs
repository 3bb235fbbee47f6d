//! Laws and cases of placement by policies.

mod division;
mod moving;
mod spreading;
