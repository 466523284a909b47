# backnorm's program protocol, version 1, for Julia. Audit with: backnorm audit --program 'julia norm.jl'
#
#   include("backnorm.jl")
#   serve("kind=batch sample=3,2,2 params=3 dtypes=float32,float64") do c, train
#       x, gamma, beta = c["x"], c["gamma"], c["beta"]      # axes in reverse: x of 4,3,2,2 is an array of (2, 2, 3, 4)
#       answer = Dict("y" => ...)
#       haskey(c, "dy") && merge!(answer, Dict("dx" => ..., "dgamma" => ..., "dbeta" => ...))
#       answer                                              # error("words") refuses a call
#   end
#
# A layer with statistics passes state=Dict("state.mean" => zeros(3)), reads c["state.mean"], and returns those after
# the call beside y. The axes are reversed since Julia keeps the first axis together in memory: no value is moved.
const BACKNORM_OUT = Ref{IO}(stdout)
const BACKNORM_TYPES = Dict("float32" => Float32, "float64" => Float64, "float16" => Float16, "int64" => Int64)

function backnorm_say(line, arrays)
    for (name, value) in arrays
        dtype = first(k for (k, T) in BACKNORM_TYPES if T == eltype(value))
        line *= " $name=$dtype[$(join(reverse(size(value)), ","))]"
    end
    out = BACKNORM_OUT[]
    write(out, line * "\n")
    foreach(value -> write(out, collect(value)), values(arrays))
    flush(out)
end

function backnorm_read(word)
    name, place = split(word, "=")
    dtype, lengths = split(chop(place), "[")
    shape = [parse(Int, d) for d in split(lengths, ",") if !isempty(d)]
    value = Array{BACKNORM_TYPES[dtype]}(undef, reverse(shape)...)
    read!(stdin, value)
    String(name) => value
end

function serve(call, facts; state=Dict{String,Any}())
    BACKNORM_OUT[] = stdout
    redirect_stdout(stderr)                                # what libraries print goes to stderr
    while !eof(stdin)
        what, words... = split(readline(stdin))
        given = Dict{String,Any}(backnorm_read(word) for word in words if occursin("[", word))
        given["what"] = what
        try
            what == "hello" ? backnorm_say("ok " * facts, state) : backnorm_say("ok", call(given, "train" in words))
        catch failure
            backnorm_say("error " * replace(sprint(showerror, failure), "\n" => " "), Dict{String,Any}())
        end
    end
end
