#!/usr/bin/env python3
"""gemma-squad under real schedulers: Slurm (a controller and four daemons on this machine, with munge), GNU parallel, mpirun.
Tasks are killed at random and run again. Compares the merged shards with a run of one process byte by byte, and checks
after each kill that no finished answer is lost or computed again.

    tests/run-schedulers.py [--bin build/ci/bin] [--kills 20] [slurm] [parallel] [mpi]        (as root, for slurm)

Debian packages: slurm-wlm munge; parallel; openmpi-bin. Missing schedulers are skipped with a message. Takes a minute or two.
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
CLUSTER = SOURCE / "examples/squad/cluster"
SHARDS = 8
# each question alone, so that a shard runs long enough to be killed halfway
FLAGS = [flag for name in ("gemma", "llama", "mistral")
         for flag in ("--model", f"{name}={SOURCE}/examples/models/{name}-demo.Q4_K_M.gguf")]
FLAGS += ["--squad", str(SOURCE / "examples/squad/demo_set.json"), "-n", "0", "--max-tokens", "200", "--batch", "1", "--alone"]
SAME = ["settings.json", "questions.json", "verdicts-f1.jsonl", "predictions-gemma.json", "predictions-llama.json",
        "predictions-mistral.json"]


def answers(directory):
    try:
        text = (directory / "answers.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return text[:text.rfind(b"\n") + 1].splitlines()  # the last line may be incomplete


class Watch:
    """The answers so far, line by line with their times, none of which may change or disappear."""

    def __init__(self, run):
        self.run, self.seen, self.kills = run, {}, 0

    def look(self):
        for shard in range(1, SHARDS + 1):
            now = answers(self.run / f"shard{shard}")
            lost = set(self.seen.get(shard, ())) - set(now)
            assert not lost, f"shard {shard} lost an answer, or asked again: {lost}"
            assert len(now) == len(set(line.split(b',"answer"')[0] for line in now)), f"shard {shard} answered twice"
            self.seen[shard] = now

    def kill_one(self):
        """Kills a process of the run that has answered some of its questions; returns its shard, or None without one."""
        running = []
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (proc / "cmdline").read_bytes().split(b"\0")
                here = any(word.startswith(str(self.run).encode() + b"/shard") for word in words)
                if here and os.readlink(proc / "exe").endswith("gemma-squad"):
                    environment = dict(v.split(b"=", 1) for v in (proc / "environ").read_bytes().split(b"\0") if b"=" in v)
                    running.append((int(proc.name), environment.get(b"SLURM_ARRAY_TASK_ID", b"0").decode()))
            except OSError:
                pass  # the process has ended
        if not running:
            return None
        pid, task = random.choice(running)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        self.kills += 1
        self.look()
        return task


def merged(squad, run, whole):
    """Merges the shards in random order, and compares the result with the whole run."""
    shards = [str(run / f"shard{i}") for i in range(1, SHARDS + 1)]
    random.shuffle(shards)
    shutil.rmtree(run / "whole", ignore_errors=True)
    subprocess.run([squad, "merge", *shards, "--out", str(run / "whole"), "-q"], check=True)
    for name in SAME:
        assert (run / "whole" / name).read_bytes() == (whole / name).read_bytes(), name
    timeless = [[line.split(b',"timing":')[0] for line in answers(d)] for d in (run / "whole", whole)]
    assert timeless[0] == timeless[1], "answers.jsonl"


class Slurm:
    """A cluster of four nodes on this machine, in a temporary folder."""

    def __init__(self, folder):
        self.folder, self.daemons = folder, []
        host, port = socket.gethostname().split(".")[0], random.randrange(20000, 50000)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        config = f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
"""
        config += "".join(f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + i} CPUs=1 State=UNKNOWN\n"
                          for i in range(1, 5))
        config += "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        (folder / "slurm.conf").write_text(config)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        for name in ["state", *(f"spool.n{i}" for i in range(1, 5))]:
            (folder / name).mkdir()
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        try:
            self.start_all()
        except BaseException:
            self.stop()
            raise

    def start_all(self):
        folder = self.folder
        self.start("munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                   f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log")
        self.wait_for(lambda: (folder / "munge.socket").exists(), "munged")
        self.start("slurmctld", "-D", "-i")
        for i in range(1, 5):
            self.start("slurmd", "-D", "-N", f"n{i}")
        self.wait_for(lambda: self.say("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "4", "four idle nodes")

    def start(self, *command):
        log = open(self.folder / f"{command[0]}{len(self.daemons)}.out", "wb")
        self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def wait_for(self, what, name, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"no {name} within {seconds} s; see {self.folder}"
            time.sleep(0.1)

    def say(self, *command):
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.stdout.decode() if done.returncode == 0 else ""

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def slurm(squad, folder, watch, kills):
    cluster = Slurm(folder)
    try:
        cluster.environment["GEMMA_SQUAD"] = squad
        job = cluster.say("sbatch", "--parsable", f"--array=1-{SHARDS}", f"--output={folder}/task.%a.log",
                          str(CLUSTER / "slurm.sbatch"), str(watch.run), *FLAGS).strip()
        assert job, "sbatch refused"

        def states():
            lines = cluster.say("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T").split("\n")
            return dict(line.split() for line in lines if line)

        end = time.monotonic() + 240
        killed = set()
        while True:
            now = states()
            for task, state in now.items():
                if state in ("FAILED", "NODE_FAIL") and task in killed:
                    cluster.say("scontrol", "requeue", f"{job}_{task}")
                    # Slurm starts a requeued task after two minutes only
                    cluster.say("scontrol", "update", f"JobId={job}_{task}", "StartTime=now")
                    killed.discard(task)
            if len(now) == SHARDS and set(now.values()) == {"COMPLETED"}:
                break
            assert time.monotonic() < end, f"the array does not end: {now}; see {folder}"
            if watch.kills < kills and (task := watch.kill_one()):
                killed.add(task)
            time.sleep(random.uniform(0.05, 0.3))
    finally:
        cluster.stop()


def again_and_again(command, environment, watch, kills):
    """Runs a command, with kills, until it has succeeded; checks that nothing is lost between runs."""
    for _ in range(kills + 10):
        job = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while job.poll() is None:
            time.sleep(random.uniform(0.05, 0.3))
            if watch.kills < kills:
                watch.kill_one()
        watch.look()
        if job.returncode == 0:
            return
    raise AssertionError(f"{command[0]} does not end well")


def parallel(squad, _, watch, kills):
    environment = {**os.environ, "GEMMA_SQUAD": squad, "SHARDS": str(SHARDS), "JOBS": "3"}
    again_and_again([str(CLUSTER / "parallel.sh"), str(watch.run), *FLAGS, "-t", "1"], environment, watch, kills)


def mpi(squad, _, watch, kills):
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    again_and_again(["mpirun", "-q", "--oversubscribe", "-n", str(SHARDS), squad, "run", *FLAGS, "--out", f"{watch.run}/shard{{shard}}",
                     "--shard", "auto", "-t", "1", "-q"], environment, watch, kills)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=str(SOURCE / "build/ci/bin"), help="where gemma-squad is")
    parser.add_argument("--kills", type=int, default=20, help="random kills in each run")
    parser.add_argument("schedulers", nargs="*", choices=["slurm", "parallel", "mpi", []], help="default: all")
    flags = parser.parse_args()
    squad = str(pathlib.Path(flags.bin).resolve() / "gemma-squad")
    needs = {"slurm": ["slurmctld", "slurmd", "munged", "sbatch"], "parallel": ["parallel"], "mpi": ["mpirun"]}
    ways = {"slurm": slurm, "parallel": parallel, "mpi": mpi}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gemma-schedulers-"))
    folder.chmod(0o755)  # munge requires that all users can reach its socket
    whole = folder / "one"
    subprocess.run([squad, "run", *FLAGS, "--out", str(whole), "-t", "1", "-q"], check=True)
    print(f"one process: {len(answers(whole))} answers")
    for way in flags.schedulers or list(ways):
        missing = [program for program in needs[way] if shutil.which(program) is None]
        if missing:
            print(f"{way}: SKIPPED, there is no {', '.join(missing)}")
            continue
        (folder / way).mkdir()
        (folder / f"{way}-run").mkdir()
        watch = Watch(folder / f"{way}-run")
        begin = time.monotonic()
        ways[way](squad, folder / way, watch, flags.kills)
        watch.look()
        merged(squad, watch.run, whole)
        print(f"{way}: {SHARDS} shards, {watch.kills} kills, the same bytes, {time.monotonic() - begin:.0f} s")
    shutil.rmtree(folder)  # after a failure the folder is kept for analysis
    return 0


if __name__ == "__main__":
    sys.exit(main())
