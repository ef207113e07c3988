//! No message repeats a secret.

use std::path::Path;

use super::super::*;

/// The secrets of [`with_secrets`], made of parts that are nowhere else in it.
const SECRETS: [&str; 6] = [
    "Zq7kWx9TtB4n",
    "Hd5fRm2LpC8v",
    "Yw6gJc3NxE1s",
    "Ku4hVb7QaG0z",
    "9154827364519",
    "Ts8yMe5DiF2j",
];

/// Returns a configuration with a secret in every place where one can be.
fn with_secrets() -> String {
    let [one, two, three, four, number, _] = SECRETS;
    format!(
        "# old: {one}\n[server]\npublic_url = 'https://me:{two}@example.com'\n\
         [admin]\ntokens = ['{one}{one}', {{ name = 'al', token = \"{two}{two}\" }},\n  '{three}{three}',\n]\n\n\
         [integrations.ops]\nplugin = 'x' # {four}\n[integrations.ops.options]\n\
         token = \"{one}\"\nnumber = {number}\nkeys = {{ a = '{two}', b = ['{three}'] }}\n\
         pem = \"\"\"\n{four}=\n{one}==\n\"\"\"\nlast = '''{two}\n{three}'''\n\
         from = {{ env = 'TS' }}\nenabled = true\n\
         [destinations.d]\nplugin = 'x'\noptions.token = '{three}'\n\
         [delivery]\nproxy = 'http://me:{two}@proxy'\n"
    )
}

/// Fails if a text has five letters in a row of any secret.
#[track_caller]
fn assert_has_no_secret(said: &str, config: &str) {
    for secret in SECRETS {
        for at in 0..=secret.len() - 5 {
            let part = &secret[at..at + 5];
            assert!(!said.contains(part), "`{part}` is in\n{said}\nof\n{config}");
        }
    }
}

fn errors_of(config: &str) -> Option<ConfigErrors> {
    let env = |name: &str| (name == "TS").then(|| SECRETS[5].to_owned());
    LoadedConfig::parse(Path::new("tocsin.toml"), config.to_owned(), env).err()
}

#[test]
fn no_error_shows_a_secret_whichever_character_is_missing_or_added() {
    const SIGNS: [&str; 14] =
        ["\"", "'", "\n", "=", " = ", "[", "]", "{", "}", "#", ",", " ", "\\", "1"];
    let good = with_secrets();
    assert_eq!(errors_of(&good), None);
    let mut broken = 0;
    for at in 0..good.len() {
        let (before, after) = good.split_at(at);
        let mut configs = vec![before.to_owned(), format!("{before}{}", &after[1..])];
        configs.extend(SIGNS.map(|sign| format!("{before}{sign}{after}")));
        for config in configs {
            let Some(errors) = errors_of(&config) else { continue };
            broken += 1;
            assert_has_no_secret(&errors.to_string(), &config);
            assert_has_no_secret(&errors.sentence(), &config);
        }
    }
    assert!(broken > 3000, "{broken}");
}

#[test]
fn no_error_shows_a_secret_written_at_the_wrong_key() {
    let [one, two, _, _, number, _] = SECRETS;
    let from_env = [
        "[server]\nlisten",
        "[server]\nbody_limit_bytes",
        "[server]\nheader_timeout",
        "[log]\nlevel",
        "[log]\nformat",
        "[plugins]\nverify",
        "[plugins.checksums]\n'x 1.0.0'",
        "[requests]\nkeep",
        "[retention]\nrecords",
        "[integrations.a]\nplugin = 'x'\nurgency",
        "[integrations.a]\nplugin = 'x'\nversion",
        "[integrations.a]\nplugin = 'x'\nmaintenance",
        "[integrations.a]\nplugin = 'x'\nrate_limit",
        "[integrations.a]\nplugin = 'x'\nresolve_after",
        "[destinations.a]\nplugin = 'x'\nevents",
        "[destinations.a]\nplugin = 'x'\nrate_limit",
        "[destinations.a]\nplugin = 'x'\nallow_networks",
        "[[routes]]\nto",
        "[[routes]]\nto = []\nafter",
        "[[routes]]\nto = []\nhours.zone",
        "[[routes]]\nto = []\nhours.days",
        "[delivery]\nproxy",
        "[delivery]\nca_file",
    ];
    let literal = [
        format!("[server]\npublic_url = '{one}'\n"),
        format!("[server]\ntokens = ['{one}']\n"),
        format!("[store]\nurl = 'postgres://{one}'\n"),
        format!("[store]\nurl = {number}\n"),
        format!("[admin]\ntokens = '{one}'\n"),
        format!("[admin]\ntokens = {number}\n"),
        format!("[admin]\ntokens = [{number}]\n"),
        format!("[admin]\ntokens = [{{ name = '{one} ', token = '{two}' }}]\n"),
        format!("[admin]\ntokens = [{{ name = 'a', tokens = '{two}' }}]\n"),
        format!("[admin]\ntoken = '{one}'\n"),
        format!("token = '{one}'\n"),
        format!("[plugins]\npublic_keys = ['{one}']\n"),
        format!("[integrations.a]\nplugin = 'x'\noptions = '{one}'\n"),
        format!("[integrations.a]\nplugin = 'x'\noptions = {number}\n"),
        format!("[integrations.a]\nplugin = 'x'\noptions = [{number}.5]\n"),
        format!("[integrations.a]\nplugin = 'x'\ntoken = '{one}'\n"),
        format!("[destinations.a]\nplugin = 'x'\noptions = '{one}'\n"),
        format!("[destinations.a]\nplugin = 'x'\ntoken = '{one}'\n"),
        format!("[[routes]]\nto = []\ntoken = '{one}'\n"),
        format!("[delivery]\nproxy = 'socks5://me:{one}@proxy'\n"),
        format!("[delivery]\ntoken = '{one}'\n"),
        format!("[integrations.a]\nplugin = 'x'\noptions.token = {{ env = '{one}' }}\n"),
    ];
    let from_env = from_env.map(|key| format!("{key} = {{ env = 'TS' }}\n"));
    for config in from_env.into_iter().chain(literal) {
        let errors = errors_of(&config).unwrap_or_else(|| panic!("it is good: {config}"));
        assert_has_no_secret(&errors.to_string(), &config);
        assert_has_no_secret(&errors.sentence(), &config);
    }
}
