"""Fetches clients by their ecosystem's ordinary tools into a cache outside the checkout."""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "highwater-clients")
FETCH_SECONDS = 900


class Missing(Exception):
    """A client that this machine lacks or its registries do not serve: its tests are skipped, with the reason."""


def source(*parts):
    return os.path.join(HERE, *parts)


def need(program, package=None):
    path = shutil.which(program) or shutil.which(os.path.join("/usr/sbin", program))
    if not path:
        raise Missing(f"{program} is not installed" + (f" (Debian: {package})" if package else ""))
    return path


def text_of(path):
    with open(path) as file:
        return file.read()


def cached(name, inputs, build):
    """The folder CACHE/name-HASH; `build(folder)` fills it if the inputs (texts) are new."""
    stamp = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:12]
    folder = os.path.join(CACHE, f"{name}-{stamp}")
    os.makedirs(CACHE, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, ".complete")
        if not os.path.exists(done):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            build(folder)
            open(done, "w").close()
    return folder


def call(command, what, **options):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, stdin=subprocess.DEVNULL, **options)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what}: no answer within {FETCH_SECONDS} s") from None
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Missing(f"{what}: " + " / ".join(lines[-3:])[:400])
    return done.stdout


def python():
    """The interpreter of a virtual environment with the Python clients."""
    requirements = source("requirements.txt")

    def build(folder):
        call([sys.executable, "-m", "venv", folder], "python3 -m venv")
        call([os.path.join(folder, "bin", "pip"), "install", "-q", "-r", requirements], "pip install")

    folder = cached("python", [text_of(requirements), sys.version], build)
    return os.path.join(folder, "bin", "python")


def requirement(name):
    return re.search(rf"^{re.escape(name)}==(\S+)", text_of(source("requirements.txt")), re.M).group(1)


def maven(name, pom=None):
    """The runtime class path of poms/NAME.xml, or of another POM under that name."""
    need("java", "openjdk-17-jdk-headless")
    pom = pom or source("poms", f"{name}.xml")

    def build(folder):
        shutil.copy(pom, os.path.join(folder, "pom.xml"))
        call([need("mvn", "maven"), "-B", "-q", "dependency:build-classpath", "-Dmdep.outputFile=classpath",
              "-Dmdep.includeScope=runtime"], f"mvn {name}", cwd=folder)

    return text_of(os.path.join(cached(f"maven-{name}", [text_of(pom)], build), "classpath")).strip()


def pom_property(name, key):
    return re.search(rf"<{re.escape(key)}>([^<]+)<", text_of(source("poms", f"{name}.xml"))).group(1)


def java(pom, *programs):
    """The class path of poms/POM.xml with programs/*.java compiled in front of it."""
    classpath = maven(pom)
    sources = [source("programs", program) for program in programs]

    def build(folder):
        call([need("javac", "openjdk-17-jdk-headless"), "-proc:none", "-nowarn", "-cp", classpath, "-d", folder, *sources], "javac")

    folder = cached(f"java-{pom}", [classpath, *(text_of(path) for path in sources)], build)
    return folder + os.pathsep + classpath


def go(program):
    """The binary of programs/PROGRAM, a Go module with a committed go.sum."""
    need("go", "golang")
    folder = source("programs", program)
    inputs = [text_of(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if not name.startswith(".")]

    def build(target):
        environment = dict(os.environ, GOFLAGS="-mod=readonly")
        call(["go", "build", "-o", os.path.join(target, program), "."], f"go build {program}", cwd=folder, env=environment)

    return os.path.join(cached(f"go-{program}", inputs, build), program)


def npm(program):
    """A folder with programs/PROGRAM and its node_modules."""
    need("node", "nodejs")
    folder = source("programs", program)
    inputs = [text_of(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if not name.startswith(".")]

    def build(target):
        shutil.copytree(folder, target, dirs_exist_ok=True)
        call([need("npm", "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"], f"npm ci {program}", cwd=target)

    return cached(f"npm-{program}", inputs, build)
