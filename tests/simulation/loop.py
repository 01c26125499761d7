"""An event loop without threads, sockets or real time: tasks belong to processes, and a process can die or sleep.

What runs next is decided outside, by whoever owns the seed; within a process callbacks run in the order of asyncio.
"""

import asyncio
import heapq
from collections import deque
from contextvars import ContextVar, copy_context

OWNER = ContextVar("owner")


class Died(BaseException):
    """The process ends here, between two instructions."""


class Handle:
    """A callback on its way."""

    __slots__ = ("_cancelled", "args", "callback", "context", "moment")

    def __init__(self, callback, args, context, moment=0.0):
        self.callback, self.args, self.context, self.moment, self._cancelled = callback, args, context, moment, False

    def cancel(self):
        self._cancelled = True

    def cancelled(self):
        return self._cancelled

    def when(self):
        return self.moment


class Loop(asyncio.AbstractEventLoop):
    """Keeps callbacks by process and timers by time; `now` in seconds moves only when it is told to."""

    def __init__(self):
        self.now, self.timers, self.serial, self.complaints = 1_000.0, [], 0, []
        self.coroutines = []

    def time(self):
        return self.now

    def get_debug(self):
        return False

    def is_running(self):
        return True

    def is_closed(self):
        return False

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coroutine, *, name=None, context=None):
        self.coroutines.append(coroutine)
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def call_soon(self, callback, *args, context=None):
        context = context or copy_context()
        handle = Handle(callback, args, context)
        context[OWNER].ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        handle = Handle(callback, args, context or copy_context(), when)
        self.serial += 1
        heapq.heappush(self.timers, (when, self.serial, handle))
        return handle

    def run_in_executor(self, executor, function, *args):
        """Run the function now: other threads do nothing that the order of events could tell."""
        future = self.create_future()
        owner = OWNER.get()
        try:
            future.set_result(function(*args))
        except Died:
            owner.die()
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self):
        """End what the dead left behind, so that nothing of it runs whenever it is collected."""
        for coroutine in self.coroutines:
            coroutine.close()

    def call_exception_handler(self, context):
        self.complaints.append(context.get("message"))

    def fire(self):
        """Advance to the earliest timer of a living process and make it ready; False where there is none."""
        while self.timers:
            when, _, handle = heapq.heappop(self.timers)
            owner = handle.context[OWNER]
            if handle.cancelled() or not owner.alive:
                continue
            self.now = max(self.now, when)
            owner.ready.append(handle)
            return True
        return False


class Owner:
    """A process as the loop knows it: `alive`, `asleep`, and what it is about to do."""

    def __init__(self, loop, name):
        self.loop, self.name, self.alive, self.asleep = loop, name, True, False
        self.ready = deque()
        self.context = copy_context()
        self.context.run(OWNER.set, self)

    def start(self, coroutine):
        """Run a coroutine as a task of this process."""
        return self.context.run(self.loop.create_task, coroutine)

    def die(self):
        """End at once: nothing of this process runs any more."""
        self.alive = False
        self.ready.clear()

    def run(self):
        """Run what is ready until nothing is; return how many callbacks ran."""
        ran = 0
        while self.ready and self.alive and not self.asleep:
            handle = self.ready.popleft()
            if not handle.cancelled():
                handle.context.run(handle.callback, *handle.args)
                ran += 1
        return ran
