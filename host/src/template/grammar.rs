//! The grammar of templates: text, `{{ }}` with the names of an event, operators, filters and tests, `{%
//! if %}` and `{% for %}`.
//!
//! The engine's fuel pays for steps and for the bytes that they make, but not for every cost of a step:
//! a nested list takes twice as long to compare or to write with each level, a place in a text is found
//! by counting, and the parser recurses as deep as the source is nested. Constructs with such costs are
//! left out of the language, and a template that has one is refused when it is read. Nothing is
//! rewritten, and nothing is rendered here.

use std::fmt;

use minijinja::{
    machinery::{
        Span, Token,
        ast::{self, CallArg, Expr, Stmt},
        parse, tokenize,
    },
    syntax::SyntaxConfig,
};

const NAMES: [&str; 9] = [
    "dedup_key",
    "description",
    "details",
    "integration",
    "link",
    "plugin",
    "plugin_version",
    "title",
    "urgency",
];
const FILTERS: [&str; 12] = [
    "capitalize",
    "default",
    "first",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "title",
    "trim",
    "truncate",
    "upper",
];
const TESTS: [&str; 4] = ["defined", "endingwith", "startingwith", "undefined"];
/// The attributes of `loop`.
const LOOP: [&str; 7] = ["first", "index", "index0", "last", "length", "revindex", "revindex0"];
/// The deepest nesting of loops: to find a name, a step searches all of them.
const MOST_LOOPS: usize = 4;
/// The most tokens of a tag, and tags of a template: each may take the parser deeper.
const MOST_TOKENS: usize = 256;
const MOST_TAGS: usize = 256;

/// A fault of a template, and its line.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: Option<usize>,
    pub(super) reason: String,
}

impl Fault {
    fn at(span: Span, reason: impl Into<String>) -> Self {
        Self { line: Some(span.start_line.into()), reason: reason.into() }
    }
}

impl From<minijinja::Error> for Fault {
    fn from(error: minijinja::Error) -> Self {
        Self { line: error.line(), reason: super::reason(&error) }
    }
}

/// Checks that a template can be parsed, and contains only what the grammar allows.
pub(super) fn check(source: &str, syntax: &SyntaxConfig) -> Result<(), Fault> {
    check_size(source, syntax)?;
    let template = parse(source, "", syntax.clone())?;
    Reader::default().statement(&template)
}

/// Checks the nesting before anything is parsed that could be deep.
fn check_size(source: &str, syntax: &SyntaxConfig) -> Result<(), Fault> {
    let (mut tags, mut tokens) = (0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token?;
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => (tags, tokens) = (tags + 1, 0),
            _ => tokens += 1,
        }
        if tags > MOST_TAGS {
            return Err(Fault::at(span, format!("a template has at most {MOST_TAGS} tags")));
        }
        if tokens > MOST_TOKENS {
            let reason = format!("a tag has at most {MOST_TOKENS} words and signs");
            return Err(Fault::at(span, reason));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reader<'s> {
    /// The variables of the enclosing loops, the innermost last.
    loops: Vec<&'s str>,
}

impl<'s> Reader<'s> {
    fn statements(&mut self, statements: &[Stmt<'s>]) -> Result<(), Fault> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    /// There is no catch-all arm: if the engine learns a new statement, this code does not compile
    /// until a developer has added an arm for it.
    fn statement(&mut self, statement: &Stmt<'s>) -> Result<(), Fault> {
        let (tag, span) = match statement {
            Stmt::Template(template) => return self.statements(&template.children),
            Stmt::EmitRaw(_) => return Ok(()),
            Stmt::EmitExpr(tag) => return self.expression(&tag.expr),
            Stmt::IfCond(tag) => {
                self.expression(&tag.expr)?;
                self.statements(&tag.true_body)?;
                return self.statements(&tag.false_body);
            }
            Stmt::ForLoop(tag) => return self.for_loop(tag, tag.span()),
            Stmt::WithBlock(tag) => ("with", tag.span()),
            Stmt::Set(tag) => ("set", tag.span()),
            Stmt::SetBlock(tag) => ("set", tag.span()),
            Stmt::AutoEscape(tag) => ("autoescape", tag.span()),
            Stmt::FilterBlock(tag) => ("filter", tag.span()),
            Stmt::Do(tag) => ("do", tag.span()),
        };
        let reason = format!("a template has `{{% if %}}` and `{{% for %}}`, not `{{% {tag} %}}`");
        Err(Fault::at(span, reason))
    }

    fn for_loop(&mut self, tag: &ast::ForLoop<'s>, span: Span) -> Result<(), Fault> {
        let Expr::Var(variable) = &tag.target else {
            return Err(Fault::at(span, "a loop has one variable"));
        };
        if NAMES.contains(&variable.id) {
            let reason = format!(
                "`{}` is a reserved name: choose another name for the variable",
                variable.id
            );
            return Err(Fault::at(span, reason));
        }
        if tag.recursive {
            return Err(Fault::at(span, "a loop can't be `recursive`"));
        }
        if self.loops.len() == MOST_LOOPS {
            let reason = format!("at most {MOST_LOOPS} loops can be nested");
            return Err(Fault::at(span, reason));
        }
        self.expression(&tag.iter)?;
        self.loops.push(variable.id);
        tag.filter_expr.iter().try_for_each(|condition| self.expression(condition))?;
        self.statements(&tag.body)?;
        self.loops.pop();
        self.statements(&tag.else_body)
    }

    fn expressions<'e>(
        &self,
        expressions: impl IntoIterator<Item = &'e Expr<'s>>,
    ) -> Result<(), Fault>
    where
        's: 'e,
    {
        expressions.into_iter().try_for_each(|expression| self.expression(expression))
    }

    fn expression(&self, expression: &Expr<'s>) -> Result<(), Fault> {
        let reason = match expression {
            Expr::Const(_) => return Ok(()),
            Expr::Var(name) => return self.name(name.id, name.span()),
            Expr::UnaryOp(operation) => return self.expression(&operation.expr),
            Expr::BinOp(operation) => return self.expressions([&operation.left, &operation.right]),
            Expr::Compare(chain) => {
                self.expression(&chain.expr)?;
                return self.expressions(chain.ops.iter().map(|operation| &operation.expr));
            }
            Expr::IfExpr(choice) => {
                self.expressions([&choice.test_expr, &choice.true_expr])?;
                return self.expressions(&choice.false_expr);
            }
            Expr::Filter(filter) => {
                known("there is no filter", filter.name, &FILTERS, filter.span())?;
                self.expressions(&filter.expr)?;
                return self.arguments(&filter.args, filter.span());
            }
            Expr::Test(test) => {
                known("there is no test", test.name, &TESTS, test.span())?;
                self.expression(&test.expr)?;
                return self.arguments(&test.args, test.span());
            }
            Expr::GetAttr(part) => {
                let what = &part.expr;
                return self.part(what, Some(part.name), part.span());
            }
            Expr::GetItem(part) => {
                self.part(&part.expr, None, part.span())?;
                return self.expression(&part.subscript_expr);
            }
            Expr::Slice(_) => "a text is cut with `| truncate(80)`, not with `[:80]`",
            Expr::Call(_) => {
                "functions cannot be called: change a text with a filter, such as `| upper`"
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => {
                "a template can't make lists or maps of its own"
            }
        };
        Err(Fault::at(expression.span(), reason))
    }

    fn name(&self, name: &str, span: Span) -> Result<(), Fault> {
        if self.loops.contains(&name) {
            return Ok(());
        }
        known("there is no variable", name, &NAMES, span)
    }

    /// Allows parts only of values that find them cheaply: in a text, the engine would count characters.
    fn part(&self, whole: &Expr<'s>, part: Option<&str>, span: Span) -> Result<(), Fault> {
        match (whole, part) {
            (Expr::Var(whole), _) if whole.id == "details" => Ok(()),
            (Expr::Var(whole), Some(part)) if whole.id == "loop" && !self.loops.is_empty() => {
                known("`loop` has no", part, &LOOP, span)
            }
            _ => Err(Fault::at(span, "only `details` have parts, such as `details[\"Channel\"]`")),
        }
    }

    fn arguments(&self, arguments: &[CallArg<'s>], span: Span) -> Result<(), Fault> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(argument) | CallArg::Kwarg(_, argument) => self.expression(argument),
            CallArg::PosSplat(_) | CallArg::KwargSplat(_) => Err(Fault::at(
                span,
                "the arguments of a filter or a test have to be written one by one",
            )),
        })
    }
}

fn known(there_is_no: &str, name: &str, all: &[&str], span: Span) -> Result<(), Fault> {
    if all.contains(&name) {
        return Ok(());
    }
    let name = super::truncate(name.into(), 64);
    Err(Fault::at(span, format!("{there_is_no} `{name}`, only {}", Names(all))))
}

/// Returns a list of names for a sentence.
struct Names<'n>(&'n [&'n str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, name) in self.0.iter().enumerate() {
            let separator = match before {
                0 => "",
                before if before + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{separator}`{name}`")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use insta::assert_snapshot;

    use super::super::{ENVIRONMENT, Template};

    fn refusal(source: &str) -> String {
        Template::parse(source).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_syntax_error_says_why_and_where() {
        assert_snapshot!(refusal("{{ title }"), @"unexpected `}`, expected end of variable block");
        assert_snapshot!(refusal("{{ title"), @"unexpected end of input, expected end of variable block");
        assert_snapshot!(refusal("{{ 'title }}"), @"unexpected end of string");
        assert_snapshot!(refusal("{{ }}"), @"unexpected end of variable block");
        assert_snapshot!(refusal("{% if title %}x"), @"unexpected end of input, expected end of block");
        assert_snapshot!(refusal("{% endif %}"), @"unknown statement endif");
        assert_snapshot!(refusal("x\ny\n{{ title title }}\n"), @"unexpected identifier, expected end of variable block (line 3 of the template)");
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        assert_snapshot!(refusal("{{ titel }}"), @"there is no variable `titel`, only `dedup_key`, `description`, `details`, `integration`, `link`, `plugin`, `plugin_version`, `title` and `urgency`");
        assert_snapshot!(refusal("{% for x in details %}{{ x }}{% endfor %}\n{{ x }}"), @"there is no variable `x`, only `dedup_key`, `description`, `details`, `integration`, `link`, `plugin`, `plugin_version`, `title` and `urgency` (line 2 of the template)");
        assert_snapshot!(refusal("{{ title | lipsum }}"), @"there is no filter `lipsum`, only `capitalize`, `default`, `first`, `join`, `last`, `length`, `lower`, `replace`, `title`, `trim`, `truncate` and `upper`");
        assert_snapshot!(refusal("{{ title is even }}"), @"there is no test `even`, only `defined`, `endingwith`, `startingwith` and `undefined`");
        assert_snapshot!(refusal("{% for x in details %}{{ loop.previtem }}{% endfor %}"), @"`loop` has no `previtem`, only `first`, `index`, `index0`, `last`, `length`, `revindex` and `revindex0`");
        let long = format!("{{{{ {} }}}}", "x".repeat(5000));
        assert!(refusal(&long).starts_with(&format!("there is no variable `{}…`", "x".repeat(63))));
        for source in ["{{ loop }}", "{{ self }}", "{{ range }}", "{{ namespace }}", "{{ debug }}"]
        {
            assert!(refusal(source).starts_with("there is no variable"), "{source}");
        }
    }

    #[test]
    fn statements_that_keep_or_include_something_are_refused() {
        assert_snapshot!(refusal("{% set a = title %}{{ a ~ a }}"), @"a template has `{% if %}` and `{% for %}`, not `{% set %}`");
        for source in [
            "{% set a = title %}",
            "{%- set a = title -%}",
            "{%+set a%}{{ title }}{%endset%}",
            "{% with a = title %}{% endwith %}",
            "{% autoescape true %}{% endautoescape %}",
            "{% filter upper %}{% endfilter %}",
            "{% do title() %}",
            "{% if title %}{% set a = title %}{% endif %}",
            "{% if title %}{% else %}{% set a = title %}{% endif %}",
            "{% for x in details %}{% set a = title %}{% endfor %}",
            "{% for x in details %}{% else %}{% set a = title %}{% endfor %}",
        ] {
            assert!(refusal(source).starts_with("a template has `{% if %}` and"), "{source}");
        }
        for source in [
            "{% macro m() %}{% endmacro %}",
            "{% call title() %}{% endcall %}",
            "{% import 'x' as y %}",
            "{% from 'x' import y %}",
            "{% include 'x' %}",
            "{% extends 'x' %}",
            "{% block x %}{% endblock %}",
            "{% break %}",
        ] {
            assert!(refusal(source).starts_with("unknown statement "), "{source}");
        }
    }

    #[test]
    fn lists_parts_of_texts_and_calls_are_refused_everywhere() {
        assert_snapshot!(refusal("{{ [title, title] }}"), @"a template can't make lists or maps of its own");
        assert_snapshot!(refusal("{{ title[:80] }}"), @"a text is cut with `| truncate(80)`, not with `[:80]`");
        assert_snapshot!(refusal("{{ title.upper() }}"), @"functions cannot be called: change a text with a filter, such as `| upper`");
        assert_snapshot!(refusal("{{ title[0] }}"), @r#"only `details` have parts, such as `details["Channel"]`"#);
        assert_snapshot!(refusal("{{ title | replace(*details) }}"), @"the arguments of a filter or a test have to be written one by one");
        for part in [
            "[1]",
            "(1, 2)",
            "()",
            "{}",
            "{'a': 1}",
            "title[0]",
            "title.x",
            "title[::2]",
            "f()",
            "range(9)",
            "details.items()",
            "details['a']['b']",
            "(details)[0].x",
            "lipsum(5)",
            "'a'[0]",
            "[title][0]",
            "-[1]",
            "cycler()",
        ] {
            for source in [
                format!("{{{{ {part} }}}}"),
                format!("{{{{ not {part} }}}}"),
                format!("{{{{ title ~ {part} }}}}"),
                format!("{{{{ {part} + title }}}}"),
                format!("{{{{ title < {part} < title }}}}"),
                format!("{{{{ {part} if title else title }}}}"),
                format!("{{{{ title if {part} else title }}}}"),
                format!("{{{{ title if title else {part} }}}}"),
                format!("{{{{ {part} | upper }}}}"),
                format!("{{{{ title | default({part}) }}}}"),
                format!("{{{{ title | join(d={part}) }}}}"),
                format!("{{{{ title | default(*{part}) }}}}"),
                format!("{{{{ title | default(**{part}) }}}}"),
                format!("{{{{ {part} is defined }}}}"),
                format!("{{{{ title is startingwith({part}) }}}}"),
                format!("{{{{ details[{part}] }}}}"),
                format!("{{% if {part} %}}{{% endif %}}"),
                format!("{{% if title %}}{{% elif {part} %}}{{% endif %}}"),
                format!("{{% for x in {part} %}}{{% endfor %}}"),
                format!("{{% for x in title if {part} == 1 %}}{{% endfor %}}"),
                format!("{{% if title %}}{{{{ {part} }}}}{{% endif %}}"),
            ] {
                assert!(Template::parse(&source).is_err(), "{source}");
            }
        }
    }

    #[test]
    fn loops_have_one_variable_and_a_limited_depth() {
        let refused = |loop_tag: &str| refusal(&format!("{{% for {loop_tag} %}}{{% endfor %}}"));
        assert_snapshot!(refused("x in details recursive"), @"a loop can't be `recursive`");
        assert_snapshot!(refused("a, b in details"), @"a loop has one variable");
        assert_snapshot!(refused("title in details"), @"`title` is a reserved name: choose another name for the variable");
        let nested = |depth: usize| {
            format!("{}{}", "{% for x in details %}".repeat(depth), "{% endfor %}".repeat(depth))
        };
        assert!(Template::parse(&nested(4)).is_ok());
        assert_snapshot!(refusal(&nested(5)), @"at most 4 loops can be nested");
        assert!(
            Template::parse(&nested(4).repeat(3)).is_ok(),
            "one after the other, there may be more"
        );
    }

    #[test]
    fn parsing_takes_little_stack_however_deep_the_source_is() {
        let deep = [
            format!("{{{{ {}1 }}}}", "-".repeat(200)),
            format!("{{{{ {}1 }}}}", "-".repeat(8000)),
            format!("{{{{ {}1 }}}}", "not ".repeat(200)),
            format!("{{{{ {}1 }}}}", "not ".repeat(2000)),
            format!("{{{{ {}1{} }}}}", "(".repeat(70), ")".repeat(70)),
            format!("{{{{ {}1{} }}}}", "(".repeat(4000), ")".repeat(4000)),
            format!("{{{{ {}1{} }}}}", "[".repeat(4000), "]".repeat(4000)),
            format!("{{{{ title{} }}}}", ".a".repeat(100)),
            format!("{{{{ title{} }}}}", ".a".repeat(4000)),
            format!("{{{{ title{} }}}}", "|upper".repeat(100)),
            format!("{{{{ title{} }}}}", "|upper".repeat(1300)),
            format!("{{{{ title{} }}}}", "()".repeat(4000)),
            format!("{{{{ 1{} }}}}", "+1".repeat(100)),
            format!("{{{{ 1{} }}}}", "+1".repeat(4000)),
            format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(60)),
            format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(600)),
            format!("{{{{ title{} }}}}", " is defined".repeat(100)),
            format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(200)),
            format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(600)),
            format!("{}{}", "{% if 1 %}".repeat(120), "{% endif %}".repeat(120)),
            format!("{}{}", "{%if 1%}".repeat(400), "{%endif%}".repeat(400)),
            "{% if 1 %}".repeat(800),
            "{{".repeat(4000),
            "{%".repeat(4000),
            "{#".repeat(4000),
        ];
        // A thread of the host has four times as much.
        let stack = thread::Builder::new().stack_size(512 * 1024);
        let read = stack.spawn(move || deep.map(|source| _ = Template::parse(&source)));
        read.expect("there is a thread").join().expect("it ends");
    }

    #[test]
    fn tags_and_their_tokens_are_counted() {
        let sum = |numbers: usize| format!("{{{{ {} }}}}", vec!["1"; numbers].join("+"));
        assert!(Template::parse(&sum(128)).is_ok());
        assert_snapshot!(refusal(&sum(129)), @"a tag has at most 256 words and signs");
        assert!(Template::parse(&"{{ 1 }}".repeat(256)).is_ok());
        assert_snapshot!(refusal(&"{{ 1 }}".repeat(257)), @"a template has at most 256 tags");
        assert!(Template::parse(&"{# [:1] () #}{ } - ".repeat(400)).is_ok(), "text is not counted");
    }

    #[test]
    fn the_engine_knows_everything_that_the_grammar_allows() {
        let known = format!("{:?}", *ENVIRONMENT);
        for name in super::FILTERS.iter().chain(&super::TESTS) {
            assert!(known.contains(&format!("{name:?}")), "{name}: {known}");
        }
    }
}
