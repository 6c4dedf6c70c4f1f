"""One requirement of a selector: of labels (metav1.LabelSelector) or of a node (core/v1 NodeSelectorRequirement)."""

from collections.abc import Mapping
from typing import Any


def holds(requirement: Mapping[str, Any], value: str | None) -> bool:
    """As the API server and the controllers see it. An operator of the future holds: better to leave things be."""
    values = requirement.get("values") or [""]
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                found, bound = int(value or ""), int(values[0])
            except ValueError:
                return False
            return found > bound if operator == "Gt" else found < bound
    return True
