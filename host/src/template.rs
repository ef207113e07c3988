//! Titles and descriptions as an operator wants them, written as templates.
//!
//! A template arranges what an event says. It is compiled once, and rendering it is bounded: by a
//! grammar in what it may ask for, by fuel in how much of it. What is shown where a template fails is
//! not decided here.

mod grammar;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use minijinja::{
    Environment, ErrorKind, State, UndefinedBehavior, Value, context, filters,
    syntax::SyntaxConfig,
    value::{Enumerator, Object, StringInput},
};
use serde::{Deserialize, Deserializer, de};
use tocsin_plugin_api::{Detail, Event, Urgency};

use crate::alert::PluginId;

/// Bytes of a template.
const LONGEST_SOURCE: usize = 8 * 1024;
/// What a rendering may use up: a step costs 1, and so do 64 bytes that are read or made. It is enough
/// for a text of 64 KiB that goes through a dozen filters. With texts as long as an event may have
/// them, the worst templates that could be thought of were at it for 20 ms.
const FUEL: u64 = 40_000;
/// Bytes of the values that share a label: the engine charges nothing for comparing texts, so none
/// grows without bounds.
const LONGEST_JOINED: usize = 64 * 1024;
/// Characters of what is wrong.
const LONGEST_REASON: usize = 200;
/// The only one of its environment.
const NAME: &str = "template";

/// A template, compiled. Equal are those of equal source.
///
/// In a configuration it is a text: Jinja, of which it may use `{{ }}`, `{% if %}` and `{% for %}`,
/// operators, and some filters and tests. What it can't use is refused as it is read.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

/// What a template may speak of: an event, and where it comes from.
///
/// `title`, `description`, `urgency`, `link`, `dedup_key`, `integration`, `plugin` and
/// `plugin_version` are texts, empty where there is nothing to say. `details` are the texts of the
/// event's details by label: `details["Channel"]` is one of them, and a `for` goes through the labels
/// in their order.
#[derive(Clone, Debug)]
pub struct TemplateContext(Value);

/// A text that is no template, and what is wrong with it: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// Why a template came to nothing this time: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It speaks of what this event does not have.
    #[error("{0}")]
    Undefined(String),
    /// It asks for what can't be done, such as a sum of texts and numbers.
    #[error("{0}")]
    Failed(String),
    /// It used up its fuel.
    #[error("it has more to do than a template may")]
    TooMuchToDo,
    /// It came out longer than it may, in characters.
    #[error("it came out longer than {0} characters")]
    TooLong(usize),
    /// It came out as white space or less.
    #[error("nothing came out")]
    Empty,
}

impl Template {
    /// Reads and compiles a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and in which line where it has several.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > LONGEST_SOURCE {
            let length = source.len();
            let error = format!("a template has {LONGEST_SOURCE} bytes at the most, not {length}");
            return Err(TemplateError(error));
        }
        if source.trim().is_empty() {
            return Err(TemplateError("an empty template says nothing".into()));
        }
        let mut environment = ENVIRONMENT.clone();
        grammar::check(source, environment.syntax())
            .and_then(|()| Ok(environment.add_template_owned(NAME, source.to_owned())?))
            .map_err(|fault| TemplateError(in_line(source, fault.line, &fault.reason)))?;
        Ok(Self(Arc::new(Compiled { source: source.to_owned(), environment })))
    }

    /// What it was made from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Renders a title: one line, in which any white space is a single space.
    ///
    /// # Errors
    ///
    /// Why there is none, or none of that length.
    pub fn title(
        &self,
        context: &TemplateContext,
        most_characters: usize,
    ) -> Result<String, RenderError> {
        let text = self.render(context)?;
        bounded(one_line(&text), most_characters)
    }

    /// Renders a description: lines of text, without the white space around them.
    ///
    /// # Errors
    ///
    /// Why there is none, or none of that length.
    pub fn description(
        &self,
        context: &TemplateContext,
        most_characters: usize,
    ) -> Result<String, RenderError> {
        let text = self.render(context)?;
        bounded(text.trim().to_owned(), most_characters)
    }

    /// Bounded by the fuel, and by the longest text of the event.
    fn render(&self, context: &TemplateContext) -> Result<String, RenderError> {
        let template = self.0.environment.get_template(NAME);
        let text = template.and_then(|template| template.render(context.0.clone()));
        text.map_err(|error| {
            let reason = in_line(self.source(), error.line(), &reason(&error));
            match error.kind() {
                ErrorKind::OutOfFuel => RenderError::TooMuchToDo,
                ErrorKind::UndefinedError => RenderError::Undefined(reason),
                _ => RenderError::Failed(reason),
            }
        })
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let source = Cow::<'de, str>::deserialize(from)?;
        Self::parse(&source).map_err(|error| de::Error::custom(format!("no template: {error}")))
    }
}

impl TemplateContext {
    /// Of an event whose texts are bounded already, with the urgency that its alert will have.
    pub fn new(event: &Event, urgency: Urgency, integration: &str, plugin: &PluginId) -> Self {
        let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
        Self(context! {
            title => event.title.as_str(),
            description => text(&event.description),
            urgency => urgency.as_str(),
            link => text(&event.link),
            dedup_key => text(&event.dedup_key),
            details => Value::from_object(Details::from(event.details.as_slice())),
            integration => integration,
            plugin => plugin.name.as_str(),
            plugin_version => plugin.version.as_str(),
        })
    }
}

struct Compiled {
    source: String,
    environment: Environment<'static>,
}

/// What all templates share. The names that are known here are those that the grammar lets through.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // It then says what is undefined, not only that something is.
    environment.set_debug(true);
    // A line that has nothing but a tag leaves no empty line behind.
    let lines_of_tags = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(lines_of_tags.unwrap_or_default());

    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("join", filters::join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("replace", replace);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", trim);
    environment.add_filter("truncate", truncate);
    environment.add_filter("upper", filters::upper);

    environment.add_test("defined", minijinja::tests::is_defined);
    environment.add_test("endingwith", minijinja::tests::is_endingwith);
    environment.add_test("startingwith", minijinja::tests::is_startingwith);
    environment.add_test("undefined", minijinja::tests::is_undefined);
    environment
});

/// As the engine's own, which would count 0 in what is undefined.
fn length(of: &Value) -> Result<usize, minijinja::Error> {
    if of.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    filters::length(of)
}

/// As the engine's own, which pays for the text and for the result, but not to get ready for what it
/// looks for.
fn replace(
    state: &mut State,
    text: StringInput,
    from: StringInput,
    to: StringInput,
) -> Result<Value, minijinja::Error> {
    if from.as_str().len() > text.as_str().len() {
        return Ok(text.as_str().into());
    }
    filters::replace(state, text, from, to)
}

/// As the engine's own, without a choice of characters: each would be looked for at every place.
#[expect(clippy::needless_pass_by_value, reason = "so the engine gives texts to filters")]
fn trim(text: Cow<'_, str>) -> String {
    text.trim().to_owned()
}

/// At most so many characters; the last of them says where something is left out.
fn truncate(text: Cow<'_, str>, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into_owned(),
        Some(_) if most == 0 => String::new(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// The details of an event. Values that share a label are one text, as far as there is room.
#[derive(Debug)]
struct Details {
    labels: Vec<Value>,
    values: BTreeMap<String, Value>,
}

impl From<&[Detail]> for Details {
    fn from(details: &[Detail]) -> Self {
        let mut labels = Vec::with_capacity(details.len());
        let mut values = BTreeMap::<_, String>::new();
        for Detail { label, value } in details {
            if let Some(values) = values.get_mut(label) {
                if values.len() + value.len() < LONGEST_JOINED {
                    values.push_str(", ");
                    values.push_str(value);
                }
            } else {
                labels.push(label.as_str().into());
                values.insert(label.clone(), value.clone());
            }
        }
        let values = values.into_iter().map(|(label, value)| (label, value.into())).collect();
        Self { labels, values }
    }
}

impl Object for Details {
    fn get_value(self: &Arc<Self>, label: &Value) -> Option<Value> {
        self.get_value_by_str(label.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, label: &str) -> Option<Value> {
        self.values.get(label).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.labels.clone())
    }

    /// Short, whatever they are: for `in` the engine writes it out and charges nothing.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} details", self.labels.len())
    }
}

fn bounded(text: String, most_characters: usize) -> Result<String, RenderError> {
    if text.is_empty() {
        Err(RenderError::Empty)
    } else if text.chars().nth(most_characters).is_some() {
        Err(RenderError::TooLong(most_characters))
    } else {
        Ok(text)
    }
}

/// What the engine says of an error, on one line of some length.
fn reason(error: &minijinja::Error) -> String {
    let said = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    truncate(one_line(&said).into(), LONGEST_REASON)
}

fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

fn in_line(source: &str, line: Option<usize>, reason: &str) -> String {
    match line {
        Some(line) if source.trim_end().contains('\n') => {
            format!("{reason} (line {line} of the template)")
        }
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    const LONG: usize = 64 * 1024;
    const WORDS: &str = "{{ }} {% %} {# #} {%- -}} for in x endfor if elif else endif set raw endraw \
        recursive loop loop.index title details description ['User'] [ ] ( ) . , | upper \
        default('x') is not defined startingwith + - * ** / ~ == < and or 1 2.5 'text' word";

    fn plugin() -> PluginId {
        PluginId { name: "slack-outgoing-webhook".into(), version: "1.2.3".into() }
    }

    fn context(event: &Event) -> TemplateContext {
        TemplateContext::new(event, Urgency::High, "ops-slack", &plugin())
    }

    fn event() -> Event {
        Event::create("db1 is down")
            .description("outage: db1 is down\nsince 10:00")
            .link("https://example.com/1")
            .dedup_key("db1")
            .detail("User", "steve")
            .detail("Channel", "ops")
    }

    /// As much as an event has at the very most, but for its number of details.
    fn longest_event() -> Event {
        let details = (0..100).map(|number| (format!("{}{number:02}", "x".repeat(1022)), "v"));
        details.fold(
            Event::create("t".repeat(1024)).description("\u{1f600}".repeat(LONG)),
            |event, (label, value)| event.detail(label, value),
        )
    }

    fn template(source: &str) -> Template {
        Template::parse(source).expect("it is a template")
    }

    fn title(source: &str) -> Result<String, RenderError> {
        template(source).title(&context(&event()), 1024)
    }

    fn description(source: &str) -> Result<String, RenderError> {
        template(source).description(&context(&event()), LONG)
    }

    /// The line in which it says why it can't be rendered.
    fn failure(source: &str) -> String {
        title(source).expect_err("it can't be rendered").to_string()
    }

    fn words() -> Vec<&'static str> {
        WORDS.split_whitespace().chain(["\n"]).collect()
    }

    fn refusal(source: &str) -> String {
        Template::parse(source).expect_err("it is none").to_string()
    }

    #[test]
    fn it_speaks_of_the_event_and_where_it_comes_from() {
        let rendered = description(
            "{{ title }}|{{ description }}|{{ urgency }}|{{ link }}|{{ dedup_key }}|\
             {{ integration }}|{{ plugin }}|{{ plugin_version }}|{{ details.User }}",
        );
        assert_snapshot!(rendered.expect("it can be rendered"), @"
        db1 is down|outage: db1 is down
        since 10:00|high|https://example.com/1|db1|ops-slack|slack-outgoing-webhook|1.2.3|steve
        ");
        let nothing = context(&Event::create("x"));
        let source = "{{ description }}{{ link }}{{ dedup_key }}{{ details | length }}";
        assert_eq!(template(source).title(&nothing, 1024), Ok("0".into()), "empty, not undefined");
    }

    #[test]
    fn details_are_found_by_label_and_come_in_their_order() {
        assert_eq!(title("{{ details['Channel'] }}").as_deref(), Ok("ops"));
        assert_eq!(title("{{ details | join(', ') }}").as_deref(), Ok("User, Channel"));
        let all = "{% for label in details %}{{ loop.index }} {{ label }}: {{ details[label] }}; {% endfor %}";
        assert_eq!(title(all).as_deref(), Ok("1 User: steve; 2 Channel: ops;"));
        assert_eq!(title("{{ details }}").as_deref(), Ok("2 details"));
        assert_eq!(
            title("{{ 'User' in details }} {{ 'steve' in details }}").as_deref(),
            Ok("True False")
        );
    }

    #[test]
    fn values_that_share_a_label_are_one_text() {
        let many = event().detail("User", "jo").detail("User", "x".repeat(LONG));
        let context = context(&many);
        assert_eq!(template("{{ details.User }}").title(&context, 1024), Ok("steve, jo".into()));
        assert_eq!(template("{{ details | length }}").title(&context, 1024), Ok("2".into()));
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(
            title(" {{ description }}\n\n\t! ").as_deref(),
            Ok("outage: db1 is down since 10:00 !")
        );
        assert_eq!(title("a\u{a0}\r\nb").as_deref(), Ok("a b"));
    }

    #[test]
    fn a_description_keeps_its_lines_and_tags_leave_none_behind() {
        let source = "
{% if urgency == 'high' %}
Look at once:
{% endif %}
{% for label in details %}
  {{ label }}: {{ details[label] }}
{% endfor %}

{{ link }}
";
        let rendered = description(source).expect("it can be rendered");
        assert_eq!(
            rendered,
            "Look at once:\n  User: steve\n  Channel: ops\n\nhttps://example.com/1"
        );
    }

    #[test]
    fn nothing_is_escaped() {
        let event = Event::create("<b> & \"x\"");
        assert_eq!(template("{{ title }}").title(&context(&event), 99), Ok("<b> & \"x\"".into()));
    }

    #[test]
    fn filters_and_tests_are_the_usual_ones() {
        for (source, rendered) in [
            ("{{ 'oPS team' | upper }} {{ 'oPS team' | lower }}", "OPS TEAM ops team"),
            ("{{ 'oPS team' | capitalize }} {{ 'oPS team' | title }}", "Ops team Ops Team"),
            ("{{ '  x ' | trim ~ '.' }}", "x."),
            ("{{ details.Host | default('?') }} {{ '' | default('-', true) }}", "? -"),
            ("{{ title | replace('db1', 'db2') }}", "db2 is down"),
            ("{{ 'a' | replace('aa', 'b') }} {{ 'ab' | replace('', '-') }}", "a -a-b-"),
            ("{{ title | truncate(4) }} {{ title | truncate(11) }}", "db1… db1 is down"),
            ("{{ title | truncate(1) }}{{ title | truncate(0) }}", "…"),
            ("{{ title | first }} {{ title | last }} {{ title | length }}", "d n 11"),
            ("{{ details | first }} {{ details | last }}", "User Channel"),
            ("{{ title is startingwith 'db' }} {{ title is endingwith('up') }}", "True False"),
            ("{{ details.Host is defined }} {{ details.Host is undefined }}", "False True"),
            ("{{ 'low' if urgency == 'low' else 'more' }} {{ 1 + 2 * 3 }}", "more 7"),
            ("{% for x in 'abc' if x != 'b' %}{{ x }}{% else %}none{% endfor %}", "ac"),
            ("{# a note #}{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ] {
            assert_eq!(title(source).as_deref(), Ok(rendered), "{source}");
        }
    }

    #[test]
    fn what_an_event_does_not_have_is_named() {
        assert_snapshot!(failure("{{ details['Host'] }}"), @"`details['Host']` is undefined");
        assert_snapshot!(failure("{{ details.Host | upper }}"), @"`details.Host` is undefined");
        assert_snapshot!(failure("{% if details.Host %}x{% endif %}"), @"`details.Host` is undefined");
        assert_snapshot!(failure("{{ title }}\n{{ details.Host ~ 'x' }}"), @"`details.Host` is undefined (line 2 of the template)");
        assert_snapshot!(failure("{{ 1 + details.Host }}"), @"tried to use + operator on unsupported types number and undefined (`details.Host` is undefined)");
        let filters = "capitalize first join last length lower replace('a','b') title trim \
            truncate(3) upper";
        for filter in filters.split_whitespace() {
            let rendered = title(&format!("{{{{ details.Host | {filter} }}}}"));
            assert!(matches!(rendered, Err(RenderError::Undefined(_))), "{filter}: {rendered:?}");
        }
    }

    #[test]
    fn what_can_not_be_done_is_said_in_one_line() {
        assert_snapshot!(failure("{{ title + 1 }}"), @"tried to use + operator on unsupported types string and number");
        assert_snapshot!(failure("{{ 1 / 0 }}"), @"unable to calculate 1 / 0");
        assert_snapshot!(failure("{{ title | truncate }}"), @"missing argument");
        assert_snapshot!(failure("{{ title | truncate('x\ny') }}"), @"cannot convert string to usize (line 1 of the template)");
        assert_snapshot!(failure("{{ title | upper(1) }}"), @"too many arguments");
        assert_snapshot!(failure("{% for x in 7 %}{% endfor %}"), @"number is not iterable");
    }

    #[test]
    fn what_comes_out_is_neither_empty_nor_too_long() {
        for source in ["{{ '' }}", " {{ ' ' }}\n", "{% if urgency == 'low' %}x{% endif %}"] {
            assert_eq!(title(source), Err(RenderError::Empty));
            assert_eq!(description(source), Err(RenderError::Empty));
        }
        assert_snapshot!(RenderError::Empty, @"nothing came out");
        let exactly = template("{{ 'é' * 1024 }}  ");
        assert_eq!(exactly.title(&context(&event()), 1024), Ok("é".repeat(1024)));
        let error = exactly.title(&context(&event()), 1023).expect_err("it is too long");
        assert_snapshot!(error, @"it came out longer than 1023 characters");
    }

    #[test]
    fn an_event_as_long_as_it_may_be_can_be_rendered() {
        let (event, source) = (longest_event(), "{{ description | upper | trim }}");
        let rendered = template(source).description(&context(&event), LONG);
        assert_eq!(rendered.as_deref().ok(), event.description.as_deref());
    }

    #[test]
    fn in_a_configuration_it_is_a_text() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Section {
            title: Template,
        }
        let read = |text| toml::from_str::<Section>(text);
        let section = read("title = '{{ title }}'").expect("it is one");
        assert_eq!(section.title, template("{{ title }}"));
        assert_ne!(section.title, template("{{ title  }}"));
        assert_eq!(format!("{section:?}"), "Section { title: Template(\"{{ title }}\") }");
        assert_snapshot!(read("title = '{{ title }'").expect_err("it is none"), @"
        TOML parse error at line 1, column 9
          |
        1 | title = '{{ title }'
          |         ^^^^^^^^^^^^
        no template: unexpected `}`, expected end of variable block
        ");
        assert_snapshot!(read("title = 7").expect_err("it is none").message(), @"invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_template_has_8_kib_at_the_most_and_something_to_say() {
        assert!(Template::parse(&"x".repeat(LONGEST_SOURCE)).is_ok());
        assert_snapshot!(refusal(&"x".repeat(LONGEST_SOURCE + 1)), @"a template has 8192 bytes at the most, not 8193");
        assert_snapshot!(refusal(" \n"), @"an empty template says nothing");
    }

    #[test]
    fn clones_share_what_was_compiled() {
        let one = template("x");
        assert!(Arc::ptr_eq(&one.0, &one.clone().0));
    }

    /// Whatever somebody comes up with, it ends, and soon.
    #[test]
    fn a_template_that_does_too_much_is_stopped() {
        let loops = |body: &str| {
            let (start, end) = ("{% for a in details %}", "{% endfor %}");
            format!("{}{body}{}", start.repeat(4), end.repeat(4))
        };
        let characters = |body: &str| format!("{{% for c in description %}}{body}{{% endfor %}}");
        let long = vec!["description"; 60];
        for source in [
            loops(""),
            loops("{{ details[a] }}"),
            loops("{{ title }}{{ title }}"),
            characters("{{ c }}"),
            characters("{{ description }}"),
            characters(&" ".repeat(8000)),
            characters(&format!("{{% if {} %}}{{% endif %}}", long.join(" == "))),
            characters("{% if description in description %}{% endif %}"),
            characters("{{ details in title }}"),
            characters("{{ title | replace(description, '') | length }}"),
            characters("{{ description | lower | length }}"),
            format!("{{{{ {} }}}}", long.join(" ~ ")),
            format!("{{{{ {} }}}}", long.join(" + ")),
            "{{ 'x' * 100000000 }}".into(),
            "{{ 100000000 * 'x' }}".into(),
            "{{ 'x' * 1000 * 1000 * 1000 }}".into(),
            "{{ ('x' * 1000 ~ 'x' * 1000) * 100000 }}".into(),
            "{{ description * 9999999 }}".into(),
            "{{ description | replace('', description) }}".into(),
            "{{ 'aaaaaaaa' | replace('a', description) | replace('', description) }}".into(),
            "{{ description | join(description) }}".into(),
            "{{ details | join(description) }}".into(),
        ] {
            let rendered = template(&source).description(&context(&longest_event()), LONG);
            assert_eq!(rendered, Err(RenderError::TooMuchToDo), "{source}");
        }
        assert_snapshot!(RenderError::TooMuchToDo, @"it has more to do than a template may");
    }

    #[test]
    fn numbers_have_an_end() {
        assert_snapshot!(failure("{{ 9 ** 999999999 }}"), @"unable to calculate 9 ** 999999999");
        assert_eq!(title("{{ 2 ** 64 }}").as_deref(), Ok("18446744073709551616"));
        assert!(title("{{ 'x' * -1 }}").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(source in ".{0,200}") {
            if let Ok(template) = Template::parse(&source) {
                let _ = template.title(&context(&event()), 1024);
            }
        }

        #[test]
        fn no_heap_of_words_panics_or_says_more_than_a_line(
            words in prop::collection::vec(prop::sample::select(words()), 0..40)
        ) {
            let said = match Template::parse(&words.join(" ")) {
                Ok(template) => match template.title(&context(&event()), 1024) {
                    Ok(title) => title,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            prop_assert!(!said.contains('\n') && said.chars().count() <= 1024, "{said}");
        }
    }
}
