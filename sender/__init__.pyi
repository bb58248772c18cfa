from sender.config.settings import Settings as Settings
from sender.errors import HaltError as HaltError
from sender.errors import UsageError as UsageError
from sender.outcomes.outcome import Outcome as Outcome
from sender.send.library import SendSession as SendSession
from sender.send.library import open_session as open_session

__version__: str
