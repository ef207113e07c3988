//! What Tocsin promises, shown on the `tocsin` program from outside: its listeners, its command line,
//! its folder. One module a subject; what they share is in the package's library.

mod alert_life;
mod alertmanager;
mod api;
mod bad_plugins;
mod certify;
mod cli;
mod config;
mod durability;
mod floods;
mod full_disk;
mod inspect;
mod kill_points;
mod libraries;
mod limits;
mod load;
mod load_crashes;
mod load_hangs;
mod old_and_new;
mod once;
mod one_host;
mod options;
mod quarantine;
mod racing_senders;
mod records;
mod reference;
mod reload;
mod scaffold;
mod settings;
mod slow_calls;
mod store_faults;
mod stuck_calls;
mod upgrades;
mod vectors;
mod verify;
mod watch;
