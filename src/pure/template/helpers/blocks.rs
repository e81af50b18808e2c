//! The blocks `if`, `unless`, `each` and `with`: as in Handlebars, but what is not defined is an error.

use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, Output,
    PathAndJson, RenderContext, RenderError, Renderable as _, Template,
};
use serde_json::Value as Json;

use super::{defined, problem};

/// What counts as true: not null, false, zero, or an empty text, list or map.
pub fn truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(map) => !map.is_empty(),
    }
}

pub(super) fn register(registry: &mut Handlebars<'static>) {
    registry.register_helper("if", Box::new(Condition { wanted: true }));
    registry.register_helper("unless", Box::new(Condition { wanted: false }));
    registry.register_helper("each", Box::new(Each));
    registry.register_helper("with", Box::new(With));
}

/// The one parameter of a block.
fn subject<'a, 'rc>(helper: &'a Helper<'rc>) -> Result<&'a PathAndJson<'rc>, RenderError> {
    let name = helper.name();
    match helper.params().as_slice() {
        [parameter] if helper.hash().is_empty() && helper.is_block() => {
            defined(parameter)?;
            Ok(parameter)
        }
        _ => Err(problem(format!(
            "wrong arguments: it is used as `{{{{#{name} X}}}}…{{{{/{name}}}}}`, with one X"
        ))),
    }
}

fn render<'reg: 'rc, 'rc>(
    template: Option<&'rc Template>,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    state: &mut RenderContext<'reg, 'rc>,
    out: &mut dyn Output,
) -> HelperResult {
    template.map_or(Ok(()), |template| {
        template.render(registry, context, state, out)
    })
}

struct Condition {
    wanted: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let template = if truthy(subject(helper)?.value()) == self.wanted {
            helper.template()
        } else {
            helper.inverse()
        };
        render(template, registry, context, state, out)
    }
}

/// A block inside of which `this` is the subject, or the item `step` of it.
fn scope<'rc>(subject: &PathAndJson<'rc>, item: Option<(&str, &Json)>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    if let Some(path) = subject.context_path() {
        let mut path = path.clone();
        path.extend(item.map(|(step, _)| step.to_owned()));
        *block.base_path_mut() = path;
    } else {
        block.set_base_value(item.map_or(subject.value(), |(_, value)| value).clone());
    }
    block
}

/// Names given with `as |value key|`.
fn name_items<'rc>(
    block: &mut BlockContext<'rc>,
    helper: &Helper<'rc>,
    value: &Json,
    key: &Json,
) -> Result<(), RenderError> {
    let mut names = BlockParams::new();
    if let Some(name) = helper.block_param() {
        names.add_value(name, value.clone())?;
    } else if let Some((value_name, key_name)) = helper.block_param_pair() {
        names.add_value(value_name, value.clone())?;
        names.add_value(key_name, key.clone())?;
    }
    block.set_block_params(names);
    Ok(())
}

struct Each;

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let subject = subject(helper)?;
        let items: Vec<(String, Json, &Json)> = match subject.value() {
            Json::Null => Vec::new(),
            Json::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.to_string(), Json::from(index), item))
                .collect(),
            Json::Object(map) => map
                .iter()
                .map(|(key, item)| (key.clone(), Json::from(key.as_str()), item))
                .collect(),
            other => {
                return Err(problem(format!(
                    "`each`: a list or map is wanted, not {other}"
                )));
            }
        };
        if items.is_empty() {
            return render(helper.inverse(), registry, context, state, out);
        }
        let last = items.len() - 1;
        for (index, (step, key, item)) in items.iter().enumerate() {
            let mut block = scope(subject, Some((step, item)));
            block.set_local_var("first", Json::Bool(index == 0));
            block.set_local_var("last", Json::Bool(index == last));
            block.set_local_var("index", Json::from(index));
            block.set_local_var("key", key.clone());
            name_items(&mut block, helper, item, key)?;
            state.push_block(block);
            render(helper.template(), registry, context, state, out)?;
            state.pop_block();
        }
        Ok(())
    }
}

struct With;

impl HelperDef for With {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let subject = subject(helper)?;
        if !truthy(subject.value()) {
            return render(helper.inverse(), registry, context, state, out);
        }
        let mut block = scope(subject, None);
        // `@key` and the like of an `each` around it stay visible.
        if let Some(outer) = state.block() {
            block
                .local_variables_mut()
                .clone_from(outer.local_variables());
        }
        if helper.block_param_pair().is_some() {
            return Err(problem("`with` names one value: `as |x|`"));
        }
        name_items(&mut block, helper, subject.value(), &Json::Null)?;
        state.push_block(block);
        render(helper.template(), registry, context, state, out)?;
        state.pop_block();
        Ok(())
    }
}
