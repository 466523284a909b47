# Layer normalization in Julia. With an argument its gradient takes the variance as a constant.
#   backnorm program julia > backnorm.jl && backnorm audit --program 'julia norm.jl'
include("backnorm.jl")

average(values) = sum(values; dims=1) / size(values, 1)

# x of shape (n, 6) is an array of (6, n) here.
serve("kind=layer sample=6 params=6 dtypes=float64") do c, train
    x, gamma, beta = c["x"], c["gamma"], c["beta"]
    r = 1 ./ sqrt.(average((x .- average(x)) .^ 2) .+ 1e-5)
    h = (x .- average(x)) .* r
    answer = Dict{String,Any}("y" => gamma .* h .+ beta)
    if haskey(c, "dy")
        d = gamma .* c["dy"]
        direct = d .- average(d)
        answer["dx"] = r .* (isempty(ARGS) ? direct .- h .* average(d .* h) : direct)
        answer["dgamma"] = vec(sum(c["dy"] .* h; dims=2))
        answer["dbeta"] = vec(sum(c["dy"]; dims=2))
    end
    answer
end
