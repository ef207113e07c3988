//! Templates for the titles and descriptions of alerts, written by an operator.
//!
//! A template arranges the text of an event. It is compiled once. A grammar bounds what a template may
//! contain, and fuel bounds the work of rendering. The caller decides what is shown if a template
//! fails.

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
use tocsin_plugin_api::{Detail, Urgency};

use crate::alert::{Event, PluginId};

/// The most bytes of a template.
const LONGEST_SOURCE: usize = 8 * 1024;
/// The fuel of a rendering: a step costs 1, and so do 64 bytes that are read or made. That is enough for
/// a text of 64 KiB that passes a dozen filters. With the longest texts that an event may have, the
/// worst known templates ran for 20 ms.
const FUEL: u64 = 40_000;
/// The most bytes of the values that share a label. The engine charges nothing for comparing texts, so
/// their length has to be bounded.
const LONGEST_JOINED: usize = 64 * 1024;
/// The most characters of an error.
const LONGEST_REASON: usize = 200;
/// The name of the only template in its environment.
const NAME: &str = "template";

/// A compiled template. Templates of equal source are equal.
///
/// In a configuration a template is a text in Jinja with `{{ }}`, `{% if %}` and `{% for %}`, operators,
/// and some filters and tests. Anything else is refused when the template is read.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

/// The variables of a [`Template`]: an event and its origin.
///
/// `title`, `description`, `urgency`, `link`, `dedup_key`, `integration`, `plugin` and `plugin_version`
/// are texts, empty if there is no value. `details` holds the texts of the event's details by label:
/// `details["Channel"]` is one of them, and a `for` iterates over the labels in their order.
#[derive(Clone, Debug)]
pub struct TemplateContext(Value);

/// Error for a text that is no [`Template`], on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// Error of rendering a [`Template`], on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template uses a value that this event does not have.
    #[error("{0}")]
    Undefined(String),
    /// The template does something impossible, such as adding a text and a number.
    #[error("{0}")]
    Failed(String),
    /// The fuel is used up.
    #[error("it takes more steps than a template may")]
    TooMuchToDo,
    /// The result is longer than this many characters.
    #[error("its text is longer than {0} characters")]
    TooLong(usize),
    /// The result is empty, or white space only.
    #[error("its text is empty")]
    Empty,
}

impl Template {
    /// Reads and compiles a template.
    ///
    /// # Errors
    ///
    /// A [`TemplateError`] with the fault, and its line if the template has several.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > LONGEST_SOURCE {
            let length = source.len();
            let error = format!("a template has at most {LONGEST_SOURCE} bytes, not {length}");
            return Err(TemplateError(error));
        }
        if source.trim().is_empty() {
            return Err(TemplateError("a template must not be empty".into()));
        }
        let mut environment = ENVIRONMENT.clone();
        grammar::check(source, environment.syntax())
            .and_then(|()| Ok(environment.add_template_owned(NAME, source.to_owned())?))
            .map_err(|fault| TemplateError(in_line(source, fault.line, &fault.reason)))?;
        Ok(Self(Arc::new(Compiled { source: source.to_owned(), environment })))
    }

    /// Returns the source of the template.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Renders a title: one line, in which any white space is a single space.
    ///
    /// # Errors
    ///
    /// A [`RenderError`] if there is no text, or the text is too long.
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
    /// A [`RenderError`] if there is no text, or the text is too long.
    pub fn description(
        &self,
        context: &TemplateContext,
        most_characters: usize,
    ) -> Result<String, RenderError> {
        let text = self.render(context)?;
        bounded(text.trim().to_owned(), most_characters)
    }

    /// Renders the template. The fuel and the longest text of the event bound the result.
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
        Self::parse(&source).map_err(|error| de::Error::custom(format!("not a template: {error}")))
    }
}

impl TemplateContext {
    /// Creates the variables from an [`Event`] whose texts are bounded already, and the urgency that its
    /// alert will have.
    pub fn new(event: &Event, urgency: Urgency, integration: &str, plugin: &PluginId) -> Self {
        let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
        Self(context! {
            title => event.title.as_str(),
            description => text(&event.description),
            urgency => urgency.as_str(),
            link => text(&event.link),
            dedup_key => text(&event.dedup_key),
            details => Value::from_object(Details::from(event.details.list().as_slice())),
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

/// The environment that all templates share. It knows exactly the names that the grammar allows.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The engine then names what is undefined.
    environment.set_debug(true);
    // A line with nothing but a tag leaves no empty line behind.
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

/// Returns a length as the engine's own filter does, which would count 0 in an undefined value.
fn length(of: &Value) -> Result<usize, minijinja::Error> {
    if of.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    filters::length(of)
}

/// Replaces text as the engine's own filter does, which charges for the text and for the result, but not
/// for preparing the search.
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

/// Trims text as the engine's own filter does, without a choice of characters: each would be looked for
/// at every place.
#[expect(clippy::needless_pass_by_value, reason = "so the engine gives texts to filters")]
fn trim(text: Cow<'_, str>) -> String {
    text.trim().to_owned()
}

/// Truncates a text to a number of characters; the last one marks the omission.
fn truncate(text: Cow<'_, str>, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into_owned(),
        Some(_) if most == 0 => String::new(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// The [`Detail`]s of an event. Values that share a label are one text, as far as there is room.
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

    /// Always short: for `in` the engine writes the details out and charges nothing.
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

/// Returns the message of an engine's error on one line of bounded length.
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
    use tocsin_plugin_api::Event;

    use super::*;

    const LONG: usize = 64 * 1024;
    const WORDS: &str = "{{ }} {% %} {# #} {%- -}} for in x endfor if elif else endif set raw endraw \
        recursive loop loop.index title details description ['User'] [ ] ( ) . , | upper \
        default('x') is not defined startingwith + - * ** / ~ == < and or 1 2.5 'text' word";

    fn plugin() -> PluginId {
        PluginId { name: "slack-outgoing-webhook".into(), version: "1.2.3".into() }
    }

    fn context(event: &Event) -> TemplateContext {
        TemplateContext::new(&event.clone().into(), Urgency::High, "ops-slack", &plugin())
    }

    fn event() -> Event {
        Event::create("db1 is down")
            .description("outage: db1 is down\nsince 10:00")
            .link("https://example.com/1")
            .dedup_key("db1")
            .detail("User", "steve")
            .detail("Channel", "ops")
    }

    /// Returns the largest event, except for the number of details.
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

    /// Returns the error of a rendering.
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
    fn renders_the_event_and_its_origin() {
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
    fn details_are_found_by_label_and_keep_their_order() {
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
    fn a_description_keeps_its_lines_and_tags_leave_no_empty_ones() {
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
    fn names_a_value_that_the_event_does_not_have() {
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
    fn an_impossible_operation_is_reported_on_one_line() {
        assert_snapshot!(failure("{{ title + 1 }}"), @"tried to use + operator on unsupported types string and number");
        assert_snapshot!(failure("{{ 1 / 0 }}"), @"unable to calculate 1 / 0");
        assert_snapshot!(failure("{{ title | truncate }}"), @"missing argument");
        assert_snapshot!(failure("{{ title | truncate('x\ny') }}"), @"cannot convert string to usize (line 1 of the template)");
        assert_snapshot!(failure("{{ title | upper(1) }}"), @"too many arguments");
        assert_snapshot!(failure("{% for x in 7 %}{% endfor %}"), @"number is not iterable");
    }

    #[test]
    fn refuses_results_that_are_empty_or_too_long() {
        for source in ["{{ '' }}", " {{ ' ' }}\n", "{% if urgency == 'low' %}x{% endif %}"] {
            assert_eq!(title(source), Err(RenderError::Empty));
            assert_eq!(description(source), Err(RenderError::Empty));
        }
        assert_snapshot!(RenderError::Empty, @"its text is empty");
        let exactly = template("{{ 'é' * 1024 }}  ");
        assert_eq!(exactly.title(&context(&event()), 1024), Ok("é".repeat(1024)));
        let error = exactly.title(&context(&event()), 1023).expect_err("it is too long");
        assert_snapshot!(error, @"its text is longer than 1023 characters");
    }

    #[test]
    fn renders_the_largest_event() {
        let (event, source) = (longest_event(), "{{ description | upper | trim }}");
        let rendered = template(source).description(&context(&event), LONG);
        assert_eq!(rendered.as_deref().ok(), event.description.as_deref());
    }

    #[test]
    fn a_template_in_a_configuration_is_a_text() {
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
        not a template: unexpected `}`, expected end of variable block
        ");
        assert_snapshot!(read("title = 7").expect_err("it is none").message(), @"invalid type: integer `7`, expected a string");
    }

    #[test]
    fn refuses_an_empty_template_and_one_beyond_8_kib() {
        assert!(Template::parse(&"x".repeat(LONGEST_SOURCE)).is_ok());
        assert_snapshot!(refusal(&"x".repeat(LONGEST_SOURCE + 1)), @"a template has at most 8192 bytes, not 8193");
        assert_snapshot!(refusal(" \n"), @"a template must not be empty");
    }

    #[test]
    fn clones_share_the_compiled_template() {
        let one = template("x");
        assert!(Arc::ptr_eq(&one.0, &one.clone().0));
    }

    /// Every template ends after a short time.
    #[test]
    fn stops_a_template_that_uses_too_much() {
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
        assert_snapshot!(RenderError::TooMuchToDo, @"it takes more steps than a template may");
    }

    #[test]
    fn numbers_are_bounded() {
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
