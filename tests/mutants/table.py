"""All guards."""

from tests.mutants.auditing import GUARDS_OF_AUDITING
from tests.mutants.delivering import GUARDS_OF_DELIVERING
from tests.mutants.guard import all_different
from tests.mutants.taking_in import GUARDS_OF_TAKING_IN

GUARDS = all_different((*GUARDS_OF_DELIVERING, *GUARDS_OF_TAKING_IN, *GUARDS_OF_AUDITING))
