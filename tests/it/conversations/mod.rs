//! Scripts that wait for people, clocks and the world.

mod walk;
