"""`/api/admin/*`, the operators' API: `movements` of money and their `approvals`, `people`, the `records` of everybody,
and the `house` itself.

Reading needs the role support, changing something the role admin. Every change is in the audit log with its reason, as
its operator's. No answer may be kept by anybody.
"""

from bittrade.api.admin import access, approvals, house, movements, people, records

MODULES = (movements, approvals, people, records, house)
BLUEPRINTS = tuple(module.blueprint for module in MODULES)
for blueprint in BLUEPRINTS:
    blueprint.url_value_preprocessor(access.bound_ids)
