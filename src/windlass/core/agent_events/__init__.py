"""What agents print, as events in one vocabulary: `model` says which, `reading` reads, one room for each format."""

from windlass.core.agent_events.fields import Fields
from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Summary, Usage
from windlass.core.agent_events.reading import FORMATS, Reading

__all__ = ["FORMATS", "AgentEvent", "EventKind", "Fields", "Reading", "Signal", "Summary", "Usage"]
